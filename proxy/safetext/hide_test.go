package safetext

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestHide(t *testing.T) {
	AddSecrets("a+known/secret=", "short")
	for text, want := range map[string]string{
		"plain text, 3 < 4 and me@host":                     "plain text, 3 < 4 and me@host",
		"short is in other words":                           "short is in other words",
		"said a+known/secret=.":                             "said ***.",
		`Post "https://me:pass@word@host/x": refused`:       `Post "https://***@host/x": refused`,
		"wss://host/v1?role=x&X-Amz-Signature=abc and more": "wss://host/v1?*** and more",
		"https://host/session/me@example.com-0abc":          "https://host/session/me@example.com-0abc",
		"as http://NAME:PASSWORD@HOST:PORT":                 "as http://NAME:PASSWORD@HOST:PORT",
		"see https://host/page?":                            "see https://host/page?",
	} {
		if got := hide(text); got != want {
			t.Errorf("%s became %s", text, got)
		}
	}
}

// TestSafeLog: neither does a program's own log get secrets.
func TestSafeLog(t *testing.T) {
	AddSecrets("another-known-secret")
	var out bytes.Buffer
	log := SafeLog(SafeLog(slog.New(slog.NewTextHandler(&out, nil))))
	log.With("a", "another-known-secret").WithGroup("g").Info("another-known-secret", "err", fmt.Errorf("wrapped: %w", errors.New("another-known-secret")), "n", 7)
	if text := out.String(); strings.Contains(text, "known") || strings.Count(text, inPlace) != 3 || !strings.Contains(text, "n=7") {
		t.Errorf("%s", text)
	}
}

func FuzzHide(f *testing.F) {
	f.Add("https://me:", "canary", "@host?x=y")
	f.Fuzz(func(t *testing.T, before, secret, after string) {
		if len(secret) < minSecret || strings.Contains(inPlace, secret) {
			return
		}
		var h hidden
		h.add(secret)
		if len(h.list) != 1 {
			t.Fatal("not kept")
		}
		h.add(secret)
		for i := range 2 * maxSecrets {
			h.add(fmt.Sprintf("another secret %d", i))
		}
		if len(h.list) != maxSecrets {
			t.Errorf("%d are kept", len(h.list))
		}
		hide(before + secret + after)
	})
}

// TestHideBeforeCut: of a secret that a cut goes through nothing is left.
func TestHideBeforeCut(t *testing.T) {
	secret := strings.Repeat("token", 100)
	AddSecrets(secret)
	if got := Said(strings.Repeat("x", MaxSaid-20) + secret); strings.Contains(got, "token") {
		t.Errorf("%s", got)
	}
}
