package objects_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/sandbar-io/sandbar/pkg/kube"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// expand is Kubernetes' rule for $(NAME) in commands and variables, after
// k8s.io/kubernetes/third_party/forked/golang/expansion: $$ is $, $(NAME) is the
// variable or, where there is none, itself; any other $ stays.
func expand(s string, env map[string]string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		rest := s[i+1:]
		end := strings.IndexByte(rest, ')')
		switch {
		case s[i] != '$' || rest == "":
			out.WriteByte(s[i])
		case rest[0] == '$':
			out.WriteByte('$')
			i++
		case rest[0] == '(' && end > 0:
			name := rest[1:end]
			value, ok := env[name]
			if !ok {
				value = "$(" + name + ")"
			}
			out.WriteString(value)
			i += end + 1
		default:
			out.WriteByte('$')
		}
	}
	return out.String()
}

// run is what the kubelet gives the container: its variables and its command. A
// variable may refer to those before it.
func run(t *testing.T, pod *corev1.Pod, r *sandbox.Record) (map[string]string, []string) {
	t.Helper()
	secret, err := kube.EncodeRecord(r)
	if err != nil {
		t.Fatal(err)
	}
	c := pod.Spec.Containers[0]
	env := map[string]string{}
	for _, v := range c.Env {
		if _, twice := env[v.Name]; twice {
			t.Errorf("%s stands there twice", v.Name)
		}
		if v.ValueFrom == nil {
			env[v.Name] = expand(v.Value, env)
			continue
		}
		ref := v.ValueFrom.SecretKeyRef
		if ref == nil || ref.Name != secret.Name || ref.Optional != nil || v.Value != "" {
			t.Fatalf("%s: %+v", v.Name, v)
		}
		value, ok := secret.Data[ref.Key]
		if !ok {
			t.Fatalf("%s wants the key %s, which the record does not have", v.Name, ref.Key)
		}
		env[v.Name] = string(value)
	}
	var command []string
	for _, arg := range c.Command {
		command = append(command, expand(arg, env))
	}
	return env, command
}

// The rule itself, by the cases of Kubernetes' own test.
func TestExpand(t *testing.T) {
	t.Parallel()
	env := map[string]string{"VAR_A": "A", "VAR_EMPTY": ""}
	for in, want := range map[string]string{
		"$(VAR_A)": "A", "___$(VAR_A)___": "___A___", "$(VAR_A)$(VAR_A)": "AA", "$(VAR_EMPTY)": "",
		"$$(VAR_A)": "$(VAR_A)", "$$$(VAR_A)": "$A", "$$$$(VAR_A)": "$$(VAR_A)", "$$$$$(VAR_A)": "$$A",
		"$(UNKNOWN)": "$(UNKNOWN)", "$VAR_A": "$VAR_A", "$": "$", "$$": "$", "$(": "$(", "a$(VAR_A": "a$(VAR_A",
		"\\$(VAR_A)": "\\A", "f000-$(VAR_A)": "f000-A", "--$(VAR": "--$(VAR", "$?": "$?", "${VAR_A}": "${VAR_A}",
	} {
		if got := expand(in, env); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}
