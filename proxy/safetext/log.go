package safetext

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// NewLogger returns a logger that writes lines for people, each with the time
// since now: "ssmpipe: +12 ms StartSession sent target=i-0abc". Each line ends
// with end, because a terminal in raw mode needs a different line ending.
func NewLogger(w io.Writer, end string, level slog.Level) *slog.Logger {
	return slog.New(&timeline{out: &syncWriter{w: w}, end: end, level: level, start: time.Now()})
}

type timeline struct {
	out   *syncWriter
	end   string
	level slog.Level
	start time.Time
	attrs string
}

type syncWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (t *timeline) Enabled(_ context.Context, l slog.Level) bool { return l >= t.level }

func (t *timeline) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	fmt.Fprintf(&b, "ssmpipe: +%d ms %s%s", r.Time.Sub(t.start).Milliseconds(), r.Message, t.attrs)
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&b, " %s=%s", a.Key, Cut(a.Value.String(), MaxSaid))
		return true
	})
	t.out.mu.Lock()
	defer t.out.mu.Unlock()
	_, err := io.WriteString(t.out.w, Printable(b.String())+t.end)
	return err
}

func (t *timeline) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *t
	for _, a := range attrs {
		with.attrs += fmt.Sprintf(" %s=%v", a.Key, a.Value)
	}
	return &with
}

// WithGroup does nothing: names are short enough here without groups.
func (t *timeline) WithGroup(string) slog.Handler { return t }
