package deploycheck_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// TestThreeServersOfNATS: the manifests of three servers decode, and are those of
// one with what three need.
func TestThreeServersOfNATS(t *testing.T) {
	t.Parallel()
	path := filepath.Join(root, "deploy", "three", "nats.yaml")
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	all := decode(t, path, body)
	three, one := natsOf(t, all), natsOf(t, load(t))
	if *three.Spec.Replicas != 3 || three.Spec.PodManagementPolicy != appsv1.ParallelPodManagement {
		t.Errorf("%d servers, %s", *three.Spec.Replicas, three.Spec.PodManagementPolicy)
	}
	env := map[string]corev1.EnvVar{}
	for _, e := range three.Spec.Template.Spec.Containers[0].Env {
		env[e.Name] = e
	}
	for _, e := range one.Spec.Template.Spec.Containers[0].Env {
		if _, there := env[e.Name]; !there {
			t.Errorf("%s is missing", e.Name)
		}
	}
	conf, err := os.ReadFile(filepath.Join(root, "deploy", "nats", "cluster.conf"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m): \$([A-Z_]+)$`).FindAllStringSubmatch(string(conf), -1) {
		if _, ok := env[m[1]]; !ok {
			t.Errorf("cluster.conf names %s, which the pod has not", m[1])
		}
	}
	c := three.Spec.Template.Spec.Containers[0]
	if !slices.Equal(c.Args, []string{"--config", "/etc/nats/cluster.conf"}) || c.Image != one.Spec.Template.Spec.Containers[0].Image {
		t.Errorf("%s %v", c.Image, c.Args)
	}
	for _, s := range of[*corev1.Service](all) {
		if s.Name == three.Spec.ServiceName && (s.Spec.ClusterIP != corev1.ClusterIPNone || !s.Spec.PublishNotReadyAddresses) {
			t.Errorf("%s gives the servers no names before they are ready", s.Name)
		}
	}
}

func natsOf(t *testing.T, all []manifest) *appsv1.StatefulSet {
	t.Helper()
	for _, s := range of[*appsv1.StatefulSet](all) {
		if s.Name == "nats" {
			return s
		}
	}
	t.Fatal("there is no NATS")
	return nil
}
