package llm_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/tools/openhands/internal/llm"
)

type object = map[string]any

func message(role, content string) object { return object{"role": role, "content": content} }

// ask posts messages and returns the tool that the answer calls, and its arguments.
func ask(t *testing.T, url string, stream bool, messages ...object) (tool string, arguments object) {
	t.Helper()
	var tools []object
	for _, name := range []string{"terminal", "file_editor", "finish"} {
		tools = append(tools, object{"type": "function", "function": object{"name": name}})
	}
	body, err := json.Marshal(object{"model": "scripted", "messages": messages, "stream": stream, "tools": tools})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/v1/chat/completions", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer k")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	type call struct {
		Function struct{ Name, Arguments string }
	}
	type answer struct {
		Choices []struct {
			Message struct {
				Calls []call `json:"tool_calls"`
			}
			Delta struct {
				Calls []call `json:"tool_calls"`
			}
		}
	}
	name, text := "", ""
	add := func(raw string) {
		var a answer
		if err := json.Unmarshal([]byte(raw), &a); err != nil {
			t.Fatalf("%v: %s", err, raw)
		}
		for _, c := range a.Choices {
			for _, call := range append(c.Message.Calls, c.Delta.Calls...) {
				name, text = name+call.Function.Name, text+call.Function.Arguments
			}
		}
	}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if raw, ok := strings.CutPrefix(lines.Text(), "data: "); ok && raw != "[DONE]" {
			add(raw)
		} else if !stream {
			add(lines.Text())
		}
	}
	if err := json.Unmarshal([]byte(text), &arguments); err != nil {
		t.Fatalf("arguments %q: %v", text, err)
	}
	return name, arguments
}

func TestTheScriptFollowsTheResults(t *testing.T) {
	t.Parallel()
	for _, stream := range []bool{false, true} {
		model := &llm.Server{Key: "k"}
		server := httptest.NewServer(model)
		defer server.Close()
		so := []object{message("system", "be good"), message("user", "Squares below 4")}
		for _, step := range []struct{ tool, result string }{
			{"file_editor", "File created successfully"}, {"terminal", "squares: 14\n"}, {"file_editor", "1 squares: 14"}, {"finish", ""},
		} {
			tool, arguments := ask(t, server.URL, stream, so...)
			if tool != step.tool {
				t.Fatalf("stream=%t: after %d messages it calls %s %v, want %s", stream, len(so), tool, arguments, step.tool)
			}
			so = append(so, message("assistant", ""), message("tool", step.result))
		}
		so = append(so, object{"role": "user", "content": []object{{"type": "text", "text": "Once more below 4"}}})
		if tool, _ := ask(t, server.URL, stream, so...); tool != "terminal" {
			t.Errorf("stream=%t: the second task begins with %s", stream, tool)
		}
		digest := strings.Repeat("0a", 32)
		so = append(so, message("user", "Digest of the word 4"), message("tool", "\n"+digest+"  -\n"))
		if tool, arguments := ask(t, server.URL, stream, so...); tool != "finish" || arguments["message"] != digest {
			t.Errorf("stream=%t: of the digest it says %s %v", stream, tool, arguments)
		}
		if p := model.Problems(); len(p) > 0 {
			t.Errorf("stream=%t: problems %q", stream, p)
		}
	}
}

// What the agent server's terminal said on a busy machine, of a command that had run.
const lost = "[Previous command outputs are truncated. Showing the last 1 lines of the output below.]\n\n" +
	"[The command completed with exit code 0.]\n[Command finished with exit code 0]"

func TestACommandIsRunAgainWhoseOutputWasLost(t *testing.T) {
	t.Parallel()
	model := &llm.Server{Key: "k"}
	server := httptest.NewServer(model)
	defer server.Close()
	so := []object{message("user", "Squares below 4")}
	for _, step := range []struct{ tool, result string }{
		{"file_editor", "File created successfully"}, {"terminal", lost}, {"terminal", lost}, {"terminal", "squares: 14\n"}, {"file_editor", "1 squares: 14"}, {"finish", ""},
	} {
		if tool, arguments := ask(t, server.URL, false, so...); tool != step.tool {
			t.Fatalf("after %d messages it calls %s %v, want %s", len(so), tool, arguments, step.tool)
		}
		so = append(so, message("assistant", ""), message("tool", step.result))
	}
	if all, _ := model.Answers(); all != 4 || len(model.Problems()) > 0 {
		t.Errorf("%d answers, problems %q; want 4 and none", all, model.Problems())
	}
	always := []object{message("user", "Squares below 4"), message("tool", "created successfully")}
	for range 4 {
		always = append(always, message("tool", lost))
	}
	if tool, _ := ask(t, server.URL, false, always...); tool != "finish" || len(model.Problems()) != 1 {
		t.Errorf("a terminal that never tells: it calls %s, problems %q", tool, model.Problems())
	}
}

func TestWhatTheScriptDoesNotExpectIsAProblem(t *testing.T) {
	t.Parallel()
	for name, messages := range map[string][]object{
		"no task":                        {message("user", "hello")},
		"another result":                 {message("user", "Squares below 4"), message("tool", "permission denied")},
		"the second half without a half": {message("user", "Once more below 4")},
		"a first half of another number": {message("user", "Squares below 5"), message("tool", "squares: 30"), message("user", "Once more below 4")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			model := &llm.Server{Key: "k"}
			server := httptest.NewServer(model)
			defer server.Close()
			if tool, _ := ask(t, server.URL, false, messages...); tool != "finish" {
				t.Errorf("it calls %s, want an end", tool)
			}
			if len(model.Problems()) != 1 {
				t.Errorf("problems %q, want one", model.Problems())
			}
		})
	}
}

func TestOnlyItsKeyAndPath(t *testing.T) {
	t.Parallel()
	model := &llm.Server{Key: "k"}
	for _, c := range []struct {
		key, path string
		status    int
	}{
		{"other", "/v1/chat/completions", http.StatusUnauthorized},
		{"k", "/v1/responses", http.StatusNotFound},
	} {
		r := httptest.NewRequest(http.MethodPost, c.path, strings.NewReader("{}"))
		r.Header.Set("Authorization", "Bearer "+c.key)
		w := httptest.NewRecorder()
		model.ServeHTTP(w, r)
		if w.Code != c.status {
			t.Errorf("%s with %s: %d, want %d", c.path, c.key, w.Code, c.status)
		}
	}
	if len(model.Problems()) != 2 {
		t.Errorf("problems %q", model.Problems())
	}
}
