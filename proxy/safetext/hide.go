package safetext

import (
	"context"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Secrets are kept out of messages and logs in two steps. Where a secret enters
// the program, nothing that may contain it is put into an error: a
// credential_process's output and command line (helper.go), a URL that cannot
// be parsed (endpoint.go). In addition, all text for people or logs goes
// through [Printable], because the SDK, net/http and the services quote their
// input. It hides known secrets, and the parts of a URL that may be secret.

// secrets are this process's known secrets, from any source.
var secrets hidden

type hidden struct {
	mu   sync.Mutex
	list []string // newest last
}

const (
	minSecret  = 8   // anything shorter occurs in other words, too
	maxSecrets = 256 // maximum number of remembered secrets
)

// inPlace replaces a hidden secret.
const inPlace = "***"

// AddSecrets hides values from now on, except those too short to be
// distinguished from other text. It is safe for concurrent use.
func AddSecrets(values ...string) { secrets.add(values...) }

func (h *hidden) add(values ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, v := range values {
		if len(v) < minSecret || slices.Contains(h.list, v) {
			continue
		}
		if len(h.list) == maxSecrets {
			h.list = slices.Delete(h.list, 0, 1)
		}
		h.list = append(h.list, v)
	}
}

// secretVariables are the environment variables that contain a secret.
var secretVariables = []string{"AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN"}

// UserInfoForm is how messages show where a name and a password go.
const UserInfoForm = "NAME:PASSWORD"

var (
	// userInfo matches a URL's user information and the :// before it. A
	// password may contain an @.
	userInfo = regexp.MustCompile(`://[^\s/?#"'<>]*@`)

	// query matches a URL's query, which may contain a signature and a token.
	query = regexp.MustCompile(`(://[^\s?#"'<>]*\?)[^\s"'<>]+`)
)

// hide returns text with secrets replaced.
func hide(text string) string {
	for _, name := range secretVariables {
		if v := os.Getenv(name); len(v) >= minSecret {
			text = strings.ReplaceAll(text, v, inPlace)
		}
	}
	secrets.mu.Lock()
	for _, v := range secrets.list {
		text = strings.ReplaceAll(text, v, inPlace)
	}
	secrets.mu.Unlock()
	if strings.Contains(text, "://") {
		text = userInfo.ReplaceAllStringFunc(text, func(found string) string {
			if found == "://"+UserInfoForm+"@" {
				return found
			}
			return "://" + inPlace + "@"
		})
		text = query.ReplaceAllString(text, "${1}"+inPlace)
	}
	return text
}

// SafeLog returns log with secrets hidden. It is for a program that uses this
// package and has its own log.
func SafeLog(log *slog.Logger) *slog.Logger {
	switch log.Handler().(type) {
	case *timeline, safeHandler:
		return log
	}
	return slog.New(safeHandler{log.Handler()})
}

type safeHandler struct{ slog.Handler }

func (h safeHandler) Handle(ctx context.Context, r slog.Record) error {
	safe := slog.NewRecord(r.Time, r.Level, hide(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		safe.AddAttrs(safeAttr(a))
		return true
	})
	return h.Handler.Handle(ctx, safe)
}

func (h safeHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	safe := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		safe[i] = safeAttr(a)
	}
	return safeHandler{h.Handler.WithAttrs(safe)}
}

func (h safeHandler) WithGroup(name string) slog.Handler {
	return safeHandler{h.Handler.WithGroup(name)}
}

// safeAttr converts errors and similar values, which may contain secrets, to
// text.
func safeAttr(a slog.Attr) slog.Attr {
	switch v := a.Value.Resolve(); v.Kind() {
	case slog.KindString, slog.KindAny:
		return slog.String(a.Key, hide(v.String()))
	default:
		return slog.Attr{Key: a.Key, Value: v}
	}
}
