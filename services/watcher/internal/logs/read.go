package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/sandbar-io/sandbar/pkg/kube"
)

// maxLines is more than MaxBytes hold of usual lines; the API server cannot be
// asked for the last bytes.
const maxLines = 400

// Reader reads logs through the API server.
func Reader(client kubernetes.Interface, namespace string) Read {
	lines := int64(maxLines)
	return func(ctx context.Context, pod string, previous bool) (string, error) {
		stream, err := client.CoreV1().Pods(namespace).GetLogs(pod, &corev1.PodLogOptions{
			Container: kube.ContainerName, Previous: previous, TailLines: &lines,
		}).Stream(ctx)
		if err != nil {
			return "", fmt.Errorf("open the log: %w", err)
		}
		defer func() { _ = stream.Close() }() // only read from
		return Last(stream)
	}
}

// Last returns the last MaxBytes, from the beginning of a line where there is
// one, as valid UTF-8.
func Last(r io.Reader) (string, error) {
	var kept []byte
	buf := make([]byte, 4*MaxBytes)
	cut := false
	for {
		n, err := r.Read(buf)
		kept = append(kept, buf[:n]...)
		if over := len(kept) - MaxBytes; over > 0 {
			kept, cut = kept[over:], true
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", fmt.Errorf("read the log: %w", err)
		}
	}
	text := string(kept)
	if _, rest, ok := strings.Cut(text, "\n"); cut && ok && rest != "" {
		text = rest
	}
	return strings.ToValidUTF8(text, ""), nil
}
