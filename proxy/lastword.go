package proxy

import (
	"context"
	"time"

	"github.com/ssmpipe/ssmpipe/proxy/lastly"
	"github.com/ssmpipe/ssmpipe/ssmproto"
)

// lastWord is a session that the service is told the end of even where nobody
// gets to close its Conn, since the process is being ended: see package lastly.
type lastWord struct {
	*session
	opened chan struct{} // closed when Open has succeeded
	forget func()
}

func newLastWord(s *session) *lastWord {
	w := &lastWord{session: s, opened: make(chan struct{})}
	w.forget = lastly.Add(func(ctx context.Context) {
		select {
		case <-w.opened: // before that there is no id to end it by
			w.end(ctx) // again, perhaps: of two such calls the second does nothing
		case <-ctx.Done():
		}
	})
	return w
}

// Open implements ssmproto.Session. It leaves nothing behind when it fails.
func (w *lastWord) Open(ctx context.Context) (ssmproto.Grant, error) {
	g, err := w.session.Open(ctx)
	if err != nil {
		w.forget()
		return g, err
	}
	close(w.opened)
	return g, nil
}

// Terminate implements ssmproto.Session.
func (w *lastWord) Terminate(ctx context.Context) error {
	defer w.forget()
	return w.session.Terminate(ctx)
}

// closeTime is how long a Conn's Close takes, at the most.
const closeTime = 2 * time.Second

// watch forgets the session once conn, which is its, has ended. Close calls
// Terminate a little after that, or not at all if the service has ended the
// session.
func (w *lastWord) watch(conn *ssmproto.Conn) {
	<-conn.Done()
	time.AfterFunc(closeTime, w.forget)
}
