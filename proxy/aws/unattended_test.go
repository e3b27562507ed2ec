package aws

import (
	"os"
	"path/filepath"
	"testing"
)

func TestNoProgramIsAskedForCredentials(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(dir, "config"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	for _, name := range []string{"AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
		t.Setenv(name, "")
	}
	os.WriteFile(filepath.Join(dir, "config"), []byte(`[default]
credential_process = browser
[profile keys]
aws_access_key_id = x
aws_secret_access_key = y
[profile role]
role_arn = arn:aws:iam::123456789012:role/r
source_profile = asking
[profile asking]
credential_process = browser
`), 0o600)
	for profile, want := range map[string]error{"": errInteractive, "keys": nil, "asking": errInteractive, "role": errInteractive, "unknown": nil} {
		if err := Unattended(t.Context(), profile); err != want {
			t.Errorf("profile %q: %v", profile, err)
		}
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "x")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "y")
	if err := Unattended(t.Context(), ""); err != nil {
		t.Errorf("with keys in the environment: %v", err)
	}
}
