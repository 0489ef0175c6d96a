package settings_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/pkg/certificate/certtest"
	"github.com/sandbar-io/sandbar/pkg/settings"
)

func TestTLS(t *testing.T) {
	t.Parallel()
	a, dir := certtest.New(t), t.TempDir()
	good := a.Write(dir, "a.test")
	other := filepath.Join(dir, "other")
	if err := os.Mkdir(other, 0o700); err != nil {
		t.Fatal(err)
	}
	another := a.Write(other, "a.test")
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		tls  settings.TLS
		want []string // in the problem; none: there is none
	}{
		"none":             {settings.TLS{}, nil},
		"a pair":           {good, nil},
		"no key":           {settings.TLS{CertFile: good.CertFile}, []string{"TLS_CERT_FILE is set", "TLS_KEY_FILE is not"}},
		"no certificate":   {settings.TLS{KeyFile: good.KeyFile}, []string{"TLS_KEY_FILE is set", "TLS_CERT_FILE is not"}},
		"not there":        {settings.TLS{CertFile: good.CertFile, KeyFile: good.KeyFile + "x"}, []string{"TLS_KEY_FILE " + good.KeyFile + "x", "no such file"}},
		"another's key":    {settings.TLS{CertFile: good.CertFile, KeyFile: another.KeyFile}, []string{"TLS_KEY_FILE", "does not match"}},
		"the other way":    {settings.TLS{CertFile: good.KeyFile, KeyFile: good.CertFile}, []string{"TLS_CERT_FILE"}},
		"a malformed key":  {settings.TLS{CertFile: good.CertFile, KeyFile: secret}, []string{"TLS_KEY_FILE"}},
		"a directory":      {settings.TLS{CertFile: dir, KeyFile: dir}, []string{"TLS_CERT_FILE"}},
		"not a PEM of one": {settings.TLS{CertFile: secret, KeyFile: good.KeyFile}, []string{"TLS_CERT_FILE"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := c.tls.Validate()
			if (err != nil) != (c.want != nil) {
				t.Fatal(err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v, want %q in it", err, want)
				}
			}
			if err != nil && (strings.Contains(err.Error(), "c2VjcmV0") || strings.Contains(err.Error(), "PRIVATE KEY-----\n")) {
				t.Errorf("the problem cites a key: %v", err)
			}
		})
	}
}
