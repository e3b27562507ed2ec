//go:build unix

package awsapi

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestAWSFilesThatAreNone are neither waited for without an end nor read without
// one.
func TestAWSFilesThatAreNone(t *testing.T) {
	dir := t.TempDir()
	large, pipe := filepath.Join(dir, "large"), filepath.Join(dir, "pipe")
	if err := os.WriteFile(large, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(large, maxAWSFile+1); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	// A pipe is good that somebody writes to, as a shell's <(PROGRAM). (First of all:
	// who waits below reads the environment when it likes.)
	written := filepath.Join(dir, "written")
	if err := unix.Mkfifo(written, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CA_BUNDLE", "")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_CONFIG_FILE", written)
	go os.WriteFile(written, []byte("[default]\nregion = eu-north-1\n"), 0)
	if cfg, err := loadDefaultConfig(t.Context(), nil); err != nil || cfg.Region != "eu-north-1" {
		t.Errorf("from a program: %q, %v", cfg.Region, err)
	}

	variables := []string{"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CA_BUNDLE"}
	for _, variable := range variables {
		for _, v := range variables[:2] {
			t.Setenv(v, os.DevNull)
		}
		t.Setenv("AWS_CA_BUNDLE", "")
		for name, want := range map[string]string{
			"/dev/zero": "not a regular file: it is read as the AWS configuration; set " + variable,
			dir:         "not a regular file",
			large:       "too large",
		} {
			t.Setenv(variable, name)
			if _, err := loadDefaultConfig(t.Context(), nil); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), name) {
				t.Errorf("%s=%s: %v", variable, name, err)
			}
		}
		// Nobody writes.
		t.Setenv(variable, pipe)
		ctx, cancel := context.WithCancelCause(t.Context())
		enough := errors.New("enough")
		cancel(enough)
		if _, err := loadDefaultConfig(ctx, nil); !errors.Is(err, enough) {
			t.Errorf("%s is a pipe: %v", variable, err)
		}
	}
}
