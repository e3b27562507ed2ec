package ssmproto_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"strings"

	"github.com/ssmpipe/ssmpipe/ssmproto"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// brokered is a session whose tokens somebody else hands out, who may call AWS.
// Here that is a client of the test's service.
type brokered struct{ broker *ssmtest.Client }

func (s brokered) Open(ctx context.Context) (ssmproto.Grant, error)   { return s.broker.Open(ctx) }
func (s brokered) Resume(ctx context.Context) (ssmproto.Grant, error) { return s.broker.Resume(ctx) }
func (s brokered) Terminate(ctx context.Context) error                { return s.broker.Terminate(ctx) }

// One stream, as ssh has it.
func ExampleDial() {
	broker, stop := shouting(func(s *ssmtest.Server) *ssmtest.Client { return s.NewClient(node, "22") })
	defer stop()

	conn, err := ssmproto.Dial(context.Background(), brokered{broker}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.Copy(conn, strings.NewReader("hello")); err != nil {
		log.Fatal(err)
	}
	answer := make([]byte, len("hello"))
	if _, err := io.ReadFull(conn, answer); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", answer)
	// Output: HELLO
}
