package completion

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestTurnsComeOnceAMinute(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	now := time.Now()
	take := func(profile string, after time.Duration) bool {
		turn, err := openTurn(profile, "")
		if err != nil {
			t.Fatal(err)
		}
		defer turn.Close()
		return turn.take(now.Add(after))
	}
	for _, step := range []struct {
		profile string
		after   time.Duration
		want    bool
	}{
		{"", 0, true},
		{"", time.Second, false},
		{"other", time.Second, true},
		{"", 59 * time.Second, false},
		{"", 61 * time.Second, true},
		{"", 62 * time.Second, false},
		{"", -time.Hour, true}, // the clock has been set back
	} {
		if got := take(step.profile, step.after); got != step.want {
			t.Errorf("profile %q after %v: %v", step.profile, step.after, got)
		}
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "others") // have not had theirs
	if !take("", 0) {
		t.Error("new credentials have to wait")
	}
	turn, err := openTurn("", "")
	if err != nil {
		t.Fatal(err)
	}
	defer turn.Close()
	if other, err := openTurn("", ""); err == nil {
		other.Close()
		t.Error("two have the turn at once")
	}
}

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
		if err := mayAsk(t.Context(), profile); err != want {
			t.Errorf("profile %q: %v", profile, err)
		}
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "x")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "y")
	if err := mayAsk(t.Context(), ""); err != nil {
		t.Errorf("with keys in the environment: %v", err)
	}
}
