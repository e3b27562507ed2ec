package awsapi

import (
	"context"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/lastly"
	"github.com/ssmpipe/ssmpipe/ssmproto"
)

// LastWord is a session that the service is told the end of even where nobody
// gets to close its Conn, since the process is being ended: see package lastly.
type LastWord struct {
	*Session
	opened chan struct{} // closed when Open has succeeded
	Forget func()
}

func NewLastWord(s *Session) *LastWord {
	w := &LastWord{Session: s, opened: make(chan struct{})}
	w.Forget = lastly.Add(func(ctx context.Context) {
		select {
		case <-w.opened: // before that there is no id to end it by
			w.end(ctx) // again, perhaps: of two such calls the second does nothing
		case <-ctx.Done():
		}
	})
	return w
}

// Open implements ssmproto.Session. It leaves nothing behind when it fails.
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

// closeTime is how long a Conn's Close takes, at the most.
const closeTime = 2 * time.Second

// Watch forgets the session once conn, which is its, has ended. Close calls
// Terminate a little after that, or not at all if the service has ended the
// session.
func (w *LastWord) Watch(conn *ssmproto.Conn) {
	<-conn.Done()
	time.AfterFunc(closeTime, w.Forget)
}
