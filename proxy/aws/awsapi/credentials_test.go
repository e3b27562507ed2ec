package awsapi

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/smithy-go"
	smithymw "github.com/aws/smithy-go/middleware"
)

// TestRenewable: what the service refuses is read again, once for all who ask,
// and no more often than it may.
func TestRenewable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reads atomic.Int32
		var says atomic.Value // the key in the configuration, or an error
		says.Store("old")
		load := func(context.Context) (aws.CredentialsProvider, error) {
			reads.Add(1)
			time.Sleep(50 * time.Millisecond)
			if key := says.Load().(string); key != "" {
				return credentials.NewStaticCredentialsProvider(key, "secret", ""), nil
			}
			return nil, errors.New("unreadable")
		}
		from, _ := load(t.Context())
		reads.Store(0)
		r := newRenewable(t.Context(), from, slog.New(slog.DiscardHandler), load)
		// The service takes what says "good".
		call := func() error {
			_, _, err := r.call(t.Context(), smithymw.InitializeInput{}, smithymw.InitializeHandlerFunc(func(ctx context.Context, _ smithymw.InitializeInput) (out smithymw.InitializeOutput, md smithymw.Metadata, err error) {
				if creds, _ := r.Retrieve(ctx); creds.AccessKeyID != "good" {
					err = &smithy.GenericAPIError{Code: "ExpiredTokenException", Message: "of " + creds.AccessKeyID}
				}
				return out, md, err
			}))
			return err
		}
		want := func(text string, n int32) {
			t.Helper()
			err := call()
			if err == nil && text != "" || err != nil && (text == "" || !strings.Contains(err.Error(), text)) {
				t.Errorf("got %v, want %q", err, text)
			}
			if got := reads.Load(); got != n {
				t.Errorf("read %d times, want %d", got, n)
			}
		}
		want("of old", 0) // it has only just been read
		time.Sleep(renewEvery)
		want("of old", 1)
		want("of old", 1)
		says.Store("")
		time.Sleep(renewEvery)
		want("of old", 2) // the error is the service's
		says.Store("good")
		time.Sleep(renewEvery)
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				if err := call(); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		want("", 3)
	})
}

// TestRenewOutlivesCalls: who asks for credentials may take longer than a call,
// and what comes in the end is used.
func TestRenewOutlivesCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRenewable(t.Context(), credentials.NewStaticCredentialsProvider("old", "secret", ""), slog.New(slog.DiscardHandler),
			func(ctx context.Context) (aws.CredentialsProvider, error) {
				select {
				case <-time.After(time.Minute):
					return credentials.NewStaticCredentialsProvider("new", "secret", ""), nil
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			})
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		if r.renew(ctx, 0) {
			t.Error("renewed at once")
		}
		if !r.renew(t.Context(), 0) {
			t.Error("not renewed")
		}
		if creds, err := r.Retrieve(t.Context()); err != nil || creds.AccessKeyID != "new" {
			t.Errorf("%q, %v", creds.AccessKeyID, err)
		}
	})
}

// TestBadCredentials knows what the services call them, and what is about the
// clock.
func TestBadCredentials(t *testing.T) {
	for _, tt := range []struct {
		code, message string
		bad           bool
	}{
		{"ExpiredTokenException", "The security token included in the request is expired", true},
		{"ExpiredToken", "", true},
		{"UnrecognizedClientException", "", true},
		{"InvalidClientTokenId", "", true},
		{"AuthFailure", "", true},
		{"SignatureDoesNotMatch", "The request signature we calculated does not match", true},
		{"InvalidSignatureException", "Signature expired: 20200101T000000Z is now earlier than", false},
		{"SignatureDoesNotMatch", "Signature not yet current: ", false},
		{"AccessDeniedException", "", false},
		{"ThrottlingException", "", false},
	} {
		if got := BadCredentials(&CredentialsError{&smithy.GenericAPIError{Code: tt.code, Message: tt.message}}); got != tt.bad {
			t.Errorf("%s %s: %v", tt.code, tt.message, got)
		}
	}
	if BadCredentials(errors.New("ExpiredToken")) {
		t.Error("that was not the service")
	}
}

// TestProgramOf: of a command line no more is told than its program.
func TestProgramOf(t *testing.T) {
	for command, want := range map[string]string{
		"aws-vault exec --json SECRET":    "aws-vault",
		" /usr/bin/op read op://SECRET":   "/usr/bin/op",
		`"C:\Program Files\x.exe" SECRET`: `C:\Program Files\x.exe`,
		"'/opt/my helper/run' SECRET":     "/opt/my helper/run",
		"TOKEN=SECRET helper":             "",
		"echo${IFS}SECRET":                "",
		"curl<SECRET":                     "",
		"$(SECRET)":                       "",
		"":                                "",
		"https://me:SECRET@host":          "",
		"helper|SECRET":                   "",
		strings.Repeat("x", 300):          "",
		"sh -c 'curl -H \"Authorization: SECRET\" | jq'": "sh",
	} {
		if got := programOf(command); got != want {
			t.Errorf("%s: %q", command, got)
		}
	}
}

func FuzzHelperOutput(f *testing.F) {
	f.Add([]byte(`{"Version":1,"AccessKeyId":"A","SecretAccessKey":"B","Expiration":"2030-01-01T00:00:00Z"}`))
	f.Add([]byte("a notice\n{}"))
	f.Fuzz(func(t *testing.T, out []byte) {
		creds, err := parseHelperOutput(out)
		if (err == nil) != creds.HasKeys() {
			t.Errorf("%v, %v", creds.HasKeys(), err)
		}
		if err != nil && len(err.Error()) > 100 {
			t.Errorf("it quotes: %v", err)
		}
	})
}

// TestProfileNames: those of both files are named, some of many.
func TestProfileNames(t *testing.T) {
	names := profileNames(strings.NewReader("[default]\n[profile  web]\nregion = x\n [profile db] # theirs\n[sso-session corp]\n[profile open\n[services s]\n"), "profile ")
	if got := strings.Join(names, " "); got != "default web db" {
		t.Errorf("%q", got)
	}
	many := &NoProfileError{name: "x", known: strings.Fields(strings.Repeat("name ", 20))}
	if next := many.Next(); !strings.HasSuffix(next, "and 12 more") {
		t.Error(next)
	}
}
