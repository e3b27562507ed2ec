package rigtest

import (
	"context"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// Fails waits until a connection fails, which is not its orderly end.
func Fails(t *testing.T, c net.Conn, within time.Duration) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(within))
	_, err := c.Read(make([]byte, 1))
	if timeout, ok := err.(net.Error); err == nil || err == io.EOF || ok && timeout.Timeout() {
		t.Errorf("a connection from before: %v", err)
	}
}

// Echoes says whether a new connection gets an answer within a few seconds.
func Echoes(address string) bool {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return false
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(4 * time.Second))
	io.WriteString(c, "x")
	_, err = io.ReadFull(c, make([]byte, 1))
	return err == nil
}

// EchoServer echoes each connection until its end.
func EchoServer(t testing.TB) (address string) {
	t.Helper()
	return ServeTCP(t, Echo)
}

// ServeTCP serves each connection with handle until the test ends, and returns
// its address.
func ServeTCP(t testing.TB, handle func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				handle(c)
			}()
		}
	}()
	return l.Addr().String()
}

// Echo sends back what comes, until its end.
func Echo(c net.Conn) { io.Copy(c, c) }

// Ask sends a text through an address and wants it echoed.
func Ask(address, text string) error {
	c, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(c, text); err != nil {
		return err
	}
	got := make([]byte, len(text))
	if n, err := io.ReadFull(c, got); err != nil {
		return fmt.Errorf("%d of %d bytes: %w", n, len(text), err)
	}
	if string(got) != text {
		return fmt.Errorf("%d bytes came back otherwise", len(text))
	}
	return nil
}

// Says is a port that says something and hangs up.
func Says(text string) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			far.Write([]byte(text))
			far.Close()
		}()
		return near, nil
	}
}
