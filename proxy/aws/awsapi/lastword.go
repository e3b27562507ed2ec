package awsapi

import (
	"context"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/lastly"
	"github.com/ssmpipe/ssmpipe/ssmproto"
)

// LastWord is a session that tells the service of its end even if the process
// is terminated before its Conn is closed: see package lastly.
type LastWord struct {
	*Session
	opened chan struct{} // closed when Open has succeeded
	Forget func()
}

func NewLastWord(s *Session) *LastWord {
	w := &LastWord{Session: s, opened: make(chan struct{})}
	w.Forget = lastly.Add(func(ctx context.Context) {
		select {
		case <-w.opened: // until then there is no id to end the session by
			w.end(ctx) // possibly a second call, which does nothing
		case <-ctx.Done():
		}
	})
	return w
}

// Open implements ssmproto.Session. If it fails, it leaves no session behind.
func (w *LastWord) Open(ctx context.Context) (ssmproto.Grant, error) {
	g, err := w.Session.Open(ctx)
	if err != nil {
		w.Forget()
		return g, err
	}
	close(w.opened)
	return g, nil
}

// Terminate implements ssmproto.Session.
func (w *LastWord) Terminate(ctx context.Context) error {
	defer w.Forget()
	return w.Session.Terminate(ctx)
}

// closeTime is the maximum duration of a Conn's Close.
const closeTime = 2 * time.Second

// Watch forgets the session after conn, its connection, has ended. Close calls
// Terminate shortly after that, or not at all if the service ended the session.
func (w *LastWord) Watch(conn *ssmproto.Conn) {
	<-conn.Done()
	time.AfterFunc(closeTime, w.Forget)
}
