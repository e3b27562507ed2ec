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

// Secrets are kept from people and logs in two steps. Where one enters, nothing
// that may hold it is put into an error: a credential_process's output and
// command line (helper.go), a URL that cannot be read (endpoint.go). And all
// text for a person or a log goes through [Printable], which hides the secrets
// that are known and what stands at a secret's place in a URL, because the
// SDK, net/http and the services quote what they were given.

// secrets are those of this process that are known, whoever has brought them.
var secrets hidden

type hidden struct {
	mu   sync.Mutex
	list []string // the newest last
}

const (
	minSecret  = 8   // what is shorter is in other words, too
	maxSecrets = 256 // are remembered
)

// inPlace is what is shown where a secret was.
const inPlace = "***"

// AddSecrets has values hidden from now on, except those that are too short to
// be told from other text. It may be called concurrently.
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

// secretVariables hold a secret each.
var secretVariables = []string{"AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN"}

// UserInfoForm is how we tell people where a name and a password go.
const UserInfoForm = "NAME:PASSWORD"

var (
	// userInfo is a URL's, with what stands before it. A password may hold an @.
	userInfo = regexp.MustCompile(`://[^\s/?#"'<>]*@`)

	// query is a URL's: a signature and a token may be in it.
	query = regexp.MustCompile(`(://[^\s?#"'<>]*\?)[^\s"'<>]+`)
)

// hide returns text without secrets.
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

// SafeLog returns log without secrets: a program that uses this package has a
// log of its own.
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

// safeAttr makes text of errors and the like, which may hold secrets.
func safeAttr(a slog.Attr) slog.Attr {
	switch v := a.Value.Resolve(); v.Kind() {
	case slog.KindString, slog.KindAny:
		return slog.String(a.Key, hide(v.String()))
	default:
		return slog.Attr{Key: a.Key, Value: v}
	}
}
