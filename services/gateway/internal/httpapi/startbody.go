package httpapi

import (
	"encoding/json"

	"github.com/kballard/go-shellquote"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// decodeStart reads the body of POST /start as every client generation sends
// it.
func decodeStart(f fields, defaultImage string) (sessionID string, spec *sandbox.Spec, err error) {
	spec = &sandbox.Spec{ResourceFactor: 1}
	for _, text := range []struct {
		name string
		into *string
	}{
		{"session_id", &sessionID}, {"image", &spec.Image}, {"working_dir", &spec.WorkingDir},
		{"runtime_class", &spec.RuntimeClass}, {"image_pull_policy", &spec.ImagePullPolicy},
	} {
		if *text.into, err = f.text(text.name); err != nil {
			return "", nil, err
		}
	}
	for _, id := range []struct {
		name string
		into **int64
	}{
		{"run_as_user", &spec.RunAsUser}, {"run_as_group", &spec.RunAsGroup}, {"fs_group", &spec.FSGroup},
	} {
		if *id.into, err = f.integer(id.name); err != nil {
			return "", nil, err
		}
	}
	if spec.Command, err = decodeCommand(f); err != nil {
		return "", nil, err
	}
	if spec.Environment, err = decodeEnvironment(f); err != nil {
		return "", nil, err
	}
	factor, err := f.integer("resource_factor")
	if err != nil {
		return "", nil, err
	}
	if factor != nil {
		spec.ResourceFactor = int(min(*factor, sandbox.MaxResourceFactor+1))
	}
	if spec.Lifecycle, err = decodeLifecycle(f); err != nil {
		return "", nil, err
	}
	if _, sent := f.value("image"); !sent {
		spec.Image = defaultImage
	}
	if err := sandbox.ValidSessionID(sessionID); err != nil {
		return "", nil, err
	}
	return sessionID, spec, spec.Validate()
}

// decodeCommand takes a list, or a string that is split as a shell would split
// it, without expanding anything. None, null, "" and [] mean the image's own.
func decodeCommand(f fields) ([]string, error) {
	raw, ok := f.value("command")
	if !ok {
		return nil, nil
	}
	var line string
	if json.Unmarshal(raw, &line) == nil {
		words, err := shellquote.Split(line)
		if err != nil {
			return nil, sandbox.Errorf(sandbox.CodeInvalid, "command: a quote or escape is not closed")
		}
		return words, nil
	}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		return nil, sandbox.Errorf(sandbox.CodeInvalid, "command must be a string or a list of strings")
	}
	words := make([]string, len(list))
	for i, item := range list {
		if string(item) == "null" || json.Unmarshal(item, &words[i]) != nil {
			return nil, sandbox.Errorf(sandbox.CodeInvalid, "command: argument %d must be a string", i)
		}
	}
	return words, nil
}

// decodeLifecycle reads our own extension of the contract. A clock that is
// misspelt must not be silently off, so unlike elsewhere unknown members are
// refused.
func decodeLifecycle(f fields) (*sandbox.Lifecycle, error) {
	raw, ok := f.value("lifecycle")
	if !ok {
		return nil, nil
	}
	var clocks fields
	if json.Unmarshal(raw, &clocks) != nil {
		return nil, sandbox.Errorf(sandbox.CodeInvalid, "lifecycle must be an object of seconds")
	}
	out := &sandbox.Lifecycle{}
	for _, c := range sandbox.LifecycleClocks {
		n, err := clocks.integer(c.Name)
		if err != nil {
			return nil, sandbox.Errorf(sandbox.CodeInvalid, "lifecycle: %s must be a whole number of seconds", c.Name)
		}
		*c.Of(out) = n
		delete(clocks, c.Name)
	}
	for name := range clocks {
		return nil, sandbox.Errorf(sandbox.CodeInvalid, "lifecycle: there is no clock %.64q", name)
	}
	return out, nil
}

func decodeEnvironment(f fields) (map[string]string, error) {
	raw, ok := f.value("environment")
	if !ok {
		return nil, nil
	}
	var vars map[string]json.RawMessage
	if json.Unmarshal(raw, &vars) != nil {
		return nil, sandbox.Errorf(sandbox.CodeInvalid, "environment must be an object of strings")
	}
	out := make(map[string]string, len(vars))
	for name, item := range vars {
		var s string
		if string(item) == "null" || json.Unmarshal(item, &s) != nil {
			return nil, sandbox.Errorf(sandbox.CodeInvalid, "environment: the value of %.64q must be a string", name)
		}
		out[name] = s
	}
	return out, nil
}
