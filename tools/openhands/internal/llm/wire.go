package llm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// object is JSON.
type object = map[string]any

func toolCall(id string, c Call) (object, error) {
	arguments, err := json.Marshal(c.Arguments)
	if err != nil {
		return nil, fmt.Errorf("arguments: %w", err)
	}
	return object{
		"index": 0, "id": id, "type": "function",
		"function": object{"name": c.Tool, "arguments": string(arguments)},
	}, nil
}

var usage = object{"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}

// whole answers at once.
func whole(w http.ResponseWriter, model, id string, c Call) error {
	call, err := toolCall(id, c)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(object{
		"id": "chatcmpl-" + id, "object": "chat.completion", "created": 1, "model": model, "usage": usage,
		"choices": []object{{
			"index": 0, "finish_reason": "tool_calls",
			"message": object{"role": "assistant", "content": "Next step.", "tool_calls": []object{call}},
		}},
	})
}

// title answers a request that offers no tools, which is never streamed.
func title(w http.ResponseWriter, r Request) error {
	if r.Stream {
		return errors.New("a request without tools wants a stream")
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(object{
		"id": "chatcmpl-title", "object": "chat.completion", "created": 1, "model": r.Model, "usage": usage,
		"choices": []object{{
			"index": 0, "finish_reason": "stop", "message": object{"role": "assistant", "content": "Squares"},
		}},
	})
}

// stream answers in pieces: some text, the call's name, and its arguments cut in
// the middle, as OpenAI's servers do.
func stream(w http.ResponseWriter, model, id string, c Call) error {
	call, err := toolCall(id, c)
	if err != nil {
		return err
	}
	function, _ := call["function"].(object)
	arguments, _ := function["arguments"].(string)
	half := len(arguments) / 2
	call["function"] = object{"name": c.Tool, "arguments": ""}
	piece := func(part string) object {
		return object{"tool_calls": []object{{"index": 0, "function": object{"arguments": part}}}}
	}
	w.Header().Set("Content-Type", "text/event-stream")
	for _, delta := range []object{
		{"role": "assistant", "content": ""},
		{"content": "Next "}, {"content": "step."},
		{"tool_calls": []object{call}}, piece(arguments[:half]), piece(arguments[half:]),
	} {
		if err := chunk(w, model, id, object{"choices": []object{{"index": 0, "delta": delta, "finish_reason": nil}}}); err != nil {
			return err
		}
	}
	if err := chunk(w, model, id, object{"choices": []object{{"index": 0, "delta": object{}, "finish_reason": "tool_calls"}}}); err != nil {
		return err
	}
	if err := chunk(w, model, id, object{"choices": []object{}, "usage": usage}); err != nil {
		return err
	}
	_, err = io.WriteString(w, "data: [DONE]\n\n")
	return err
}

// chunk sends one, at once.
func chunk(w http.ResponseWriter, model, id string, rest object) error {
	rest["id"], rest["object"], rest["created"], rest["model"] = "chatcmpl-"+id, "chat.completion.chunk", 1, model
	raw, err := json.Marshal(rest)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "data: %s\n\n", raw); err != nil {
		return err
	}
	return http.NewResponseController(w).Flush()
}
