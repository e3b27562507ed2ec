package ssmproto_test

import (
	"context"
	"io"
	"net"
	"strings"

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// shouting is the broker of the examples and where it leads to: a port that
// says everything louder.
func shouting(session func(*ssmtest.Server) *ssmtest.Client) (broker *ssmtest.Client, stop func()) {
	srv := ssmtest.NewServer(ssmtest.Config{})
	srv.AddNode(ssmtest.Node{ID: node, Dial: func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			defer far.Close()
			buf := make([]byte, 1024)
			for {
				n, err := far.Read(buf)
				if err != nil {
					return
				}
				io.WriteString(far, strings.ToUpper(string(buf[:n])))
			}
		}()
		return near, nil
	}})
	return session(srv), srv.Close
}
