package ssmproto_test

import (
	"context"
	"fmt"
	"io"
	"log"

	"github.com/ssmpipe/ssmpipe/ssmproto"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// Many connections over one session that forwards a port.
func ExampleNewMux() {
	broker, stop := shouting(func(s *ssmtest.Server) *ssmtest.Client { return s.NewForwardClient(node, "", "80") })
	defer stop()

	session, err := ssmproto.Dial(context.Background(), brokered{broker}, nil)
	if err != nil {
		log.Fatal(err)
	}
	if !session.Multiplexed() {
		log.Fatal("an old agent: the session is one connection")
	}
	mux := ssmproto.NewMux(session, ssmproto.MuxConfig{})
	defer mux.Close() // and the session
	for _, text := range []string{"one", "two", "three"} {
		conn, err := mux.Open(context.Background())
		if err != nil {
			log.Fatal(err)
		}
		io.WriteString(conn, text)
		answer := make([]byte, len(text))
		if _, err := io.ReadFull(conn, answer); err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s\n", answer)
		conn.Close()
	}
	// Output:
	// ONE
	// TWO
	// THREE
}
