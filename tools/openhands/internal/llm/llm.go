// Package llm is a language model that follows a script, behind OpenAI's wire
// format. It keeps nothing between requests: what it says next depends on the
// messages alone, as a real one's answer does, so any number of conversations may
// use it, be paused between two requests, and go on.
package llm

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
)

// Model is how litellm is told to speak OpenAI's format to it.
const Model = "openai/scripted"

// Server is the model. Its zero value is ready; Key is the bearer token it wants.
type Server struct {
	Key string
	// Before is called before each answer, with what was asked. It may hold it up until
	// the client is gone, which ends the context.
	Before func(context.Context, Request)

	mu       sync.Mutex
	problems []string
	calls    int // answers, and what was called again
	answers  int
	streamed int
}

// Request is what a client sends, as far as it matters here.
type Request struct {
	Model    string    `json:"model"`
	Messages []Message `json:"messages"`
	Stream   bool      `json:"stream"`
	Tools    []struct {
		Function struct {
			Name string `json:"name"`
		} `json:"function"`
	} `json:"tools"`
}

// Results are how many tool results it holds.
func (r Request) Results() int {
	count := 0
	for _, m := range r.Messages {
		if m.Role == "tool" {
			count++
		}
	}
	return count
}

// Message is one of a conversation.
type Message struct {
	Role    string `json:"role"`
	Content Text   `json:"content"`
}

// Text is a message's content: a string, or parts of which those of text count.
type Text string

// UnmarshalJSON implements json.Unmarshaler.
func (t *Text) UnmarshalJSON(raw []byte) error {
	var whole string
	if json.Unmarshal(raw, &whole) == nil {
		*t = Text(whole)
		return nil
	}
	var parts []struct {
		Text string `json:"text"`
	}
	if err := json.Unmarshal(raw, &parts); err != nil {
		return fmt.Errorf("content is neither text nor parts: %w", err)
	}
	var all strings.Builder
	for _, p := range parts {
		all.WriteString(p.Text)
	}
	*t = Text(all.String())
	return nil
}

// Answers are how many steps of the script it has given, and how many of them as a
// stream. A step whose result was lost, and that is called again, is one.
func (s *Server) Answers() (all, streamed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.answers, s.streamed
}

// Problems are what was wrong with requests: a result that the script did not
// expect, a tool that is not there.
func (s *Server) Problems() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.problems...)
}

func (s *Server) note(format string, a ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.problems = append(s.problems, fmt.Sprintf(format, a...))
}

// maxRequest bounds a request: prompts of an agent are some 100 KiB.
const maxRequest = 16 << 20

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.URL.Path != "/v1/chat/completions" {
		s.note("%s %s: the script has only POST /v1/chat/completions", r.Method, r.URL.Path)
		http.Error(w, `{"error":{"message":"no such path"}}`, http.StatusNotFound)
		return
	}
	if r.Header.Get("Authorization") != "Bearer "+s.Key {
		s.note("a request without the key")
		http.Error(w, `{"error":{"message":"wrong key"}}`, http.StatusUnauthorized)
		return
	}
	var request Request
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest)).Decode(&request); err != nil {
		s.note("a request that is no JSON: %v", err)
		http.Error(w, `{"error":{"message":"not JSON"}}`, http.StatusBadRequest)
		return
	}
	if s.Before != nil {
		s.Before(r.Context(), request)
	}
	if len(request.Tools) == 0 { // the agent server asks for a conversation's title
		if err := title(w, request); err != nil && r.Context().Err() == nil {
			s.note("title: %v", err)
		}
		return
	}
	call, again, err := next(request)
	if err != nil {
		s.note("%v", err)
		call = finish("I cannot go on: " + err.Error())
	}
	s.mu.Lock()
	s.calls++
	if !again {
		s.answers++
		if request.Stream {
			s.streamed++
		}
	}
	id := fmt.Sprintf("call_%d", s.calls)
	s.mu.Unlock()
	if request.Stream {
		err = stream(w, request.Model, id, call)
	} else {
		err = whole(w, request.Model, id, call)
	}
	if err != nil && r.Context().Err() == nil { // a client that was paused away is no problem
		s.note("answer: %v", err)
	}
}

// Call is a call of one of the agent's tools.
type Call struct {
	Tool      string
	Arguments map[string]any
}

func finish(message string) Call {
	return Call{"finish", map[string]any{"message": message}}
}

// step is one answer: what the result before it must hold, and the call, of the
// task's number and what was found in that result.
type step struct {
	after *regexp.Regexp // nil: the first, nothing was called before
	call  func(n, found string) Call
}

const folder = "/workspace/project"

// Word is the name of the secret whose digest a user may ask for.
const Word = "DEPLOY_WORD"

// tasks are what a user may ask, by the words in front of a number.
var tasks = map[string]func(sum string) []step{
	"Squares below": func(sum string) []step {
		return []step{
			{nil, func(n, _ string) Call {
				return Call{"file_editor", map[string]any{
					"command": "create", "path": folder + "/squares.py",
					"file_text": "print('squares:', sum(i * i for i in range(" + n + ")))\n",
				}}
			}},
			{regexp.MustCompile(`created successfully`), func(_, _ string) Call {
				return Call{"terminal", map[string]any{"command": "python3 " + folder + "/squares.py | tee " + folder + "/result.txt"}}
			}},
			{regexp.MustCompile(`squares: ` + sum), func(_, _ string) Call {
				return Call{"file_editor", map[string]any{"command": "view", "path": folder + "/result.txt"}}
			}},
			{regexp.MustCompile(`squares: ` + sum), func(n, _ string) Call {
				return finish("The squares below " + n + " sum up to " + sum + ".")
			}},
		}
	},
	"Once more below": func(sum string) []step {
		return []step{
			{nil, func(_, _ string) Call {
				return Call{"terminal", map[string]any{"command": "cat " + folder + "/result.txt && python3 " + folder + "/squares.py"}}
			}},
			{regexp.MustCompile(`(?s)squares: ` + sum + `.*squares: ` + sum), func(n, _ string) Call {
				return finish("Below " + n + " it is still " + sum + ".")
			}},
		}
	},
	"Digest of the word": func(string) []step {
		return []step{
			{nil, func(_, _ string) Call { // by its digest, as the agent server hides the word itself
				return Call{"terminal", map[string]any{"command": `printf %s "$` + Word + `" | sha256sum`}}
			}},
			{regexp.MustCompile(`[0-9a-f]{64}`), func(_, found string) Call { return finish(found) }},
		}
	},
}

var asked = regexp.MustCompile(`(Squares below|Once more below|Digest of the word) (\d+)`)

// next is the script: the last task, and the step by the results since. Again: the
// step is not a new one.
func next(r Request) (call Call, again bool, err error) {
	for i := len(r.Messages) - 1; i >= 0; i-- {
		m := r.Messages[i]
		found := asked.FindStringSubmatch(string(m.Content))
		if m.Role != "user" || found == nil {
			continue
		}
		if found[1] == "Once more below" && !remembers(r.Messages[:i], found[2]) {
			return Call{}, false, fmt.Errorf("%q is asked in a conversation without its first half", found[0])
		}
		return answer(r, found, r.Messages[i+1:])
	}
	return Call{}, false, fmt.Errorf("no task among %d messages", len(r.Messages))
}

// remembers reports whether the first task and its result stand in the messages.
func remembers(messages []Message, n string) bool {
	first, result := false, false
	for _, m := range messages {
		first = first || m.Role == "user" && strings.Contains(string(m.Content), "Squares below "+n)
		result = result || m.Role == "tool" && strings.Contains(string(m.Content), "squares: "+Sum(n))
	}
	return first && result
}

// lost is what the agent server's terminal says where it took the prompt that its
// shell began with for the end of the command, as it may on a busy machine: the
// command has run, and its output is not told. A model would run it again.
var lost = regexp.MustCompile(`^\[Previous command outputs are truncated\.`)

// maxRepeats bounds how often a task's commands are run again.
const maxRepeats = 3

// answer goes through the results since the task was asked, and calls what comes
// after them: the next step, or the last one again where its result was lost.
func answer(r Request, found []string, since []Message) (call Call, again bool, err error) {
	steps := tasks[found[1]](Sum(found[2]))
	done, repeats, result := 0, 0, ""
	for _, m := range since {
		if m.Role != "tool" {
			continue
		}
		if done+1 >= len(steps) {
			return Call{}, false, fmt.Errorf("%q is done, and asked for again", found[0])
		}
		after := steps[done+1].after
		got := after.FindString(string(m.Content))
		switch again = got == "" && lost.MatchString(string(m.Content)) && repeats < maxRepeats; {
		case again:
			repeats++
		case got == "":
			return Call{}, false, fmt.Errorf("%q, step %d: the tool said %.400q, want %s", found[0], done+1, m.Content, after)
		default:
			done, result = done+1, got
		}
	}
	call = steps[done].call(found[2], result)
	for _, tool := range r.Tools {
		if tool.Function.Name == call.Tool {
			return call, again, nil
		}
	}
	return Call{}, false, fmt.Errorf("%q, step %d: the agent has no tool %s", found[0], done, call.Tool)
}

// Sum is the sum of the squares below a number.
func Sum(n string) string {
	var limit, sum int
	_, _ = fmt.Sscan(n, &limit) // digits, as asked says
	for i := range limit {
		sum += i * i
	}
	return fmt.Sprint(sum)
}
