package conformance

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

//go:embed testdata/start_*.json
var bodies embed.FS

// Body is the body of POST /start that a client sends, with these session and
// image in place of the fixture's own; everything else is as the client has it.
func Body(name, session, image string) (map[string]any, error) {
	raw, err := bodies.ReadFile("testdata/start_" + name + ".json")
	if err != nil {
		return nil, fmt.Errorf("start body: %w", err)
	}
	var body map[string]any
	if err := json.Unmarshal(raw, &body); err != nil {
		return nil, fmt.Errorf("start body %s: %w", name, err)
	}
	body["session_id"], body["image"] = session, image
	return body, nil
}

// Bodies lists the names that Body knows.
func Bodies() ([]string, error) {
	files, err := fs.Glob(bodies, "testdata/start_*.json")
	if err != nil {
		return nil, fmt.Errorf("start bodies: %w", err)
	}
	for i, file := range files {
		name := strings.TrimSuffix(path.Base(file), ".json")
		files[i] = strings.TrimPrefix(name, "start_")
	}
	slices.Sort(files)
	return files, nil
}
