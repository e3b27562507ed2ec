package link

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
)

// serverFrame makes a whole message as a server sends it.
func serverFrame(opcode byte, payload []byte) []byte {
	return rawFrame(finBit|opcode, payload)
}

func rawFrame(first byte, payload []byte) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n <= maxControl:
		b = append(b, byte(n))
	case n <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
	return append(b, payload...)
}

// readAll hands wire to a frameReader in pieces of at most n bytes and returns
// what comes out until the first error or the end.
func readAll(wire []byte, n int) (messages []string, err error) {
	var f frameReader
	for {
		for {
			opcode, payload, err := f.next()
			if err == errMoreToCome {
				break
			}
			if err != nil {
				return messages, err
			}
			messages = append(messages, fmt.Sprintf("%x:%s", opcode, payload))
		}
		if len(wire) == 0 {
			return messages, nil
		}
		space := f.space()
		k := copy(space[:min(n, len(space))], wire)
		f.filled(k)
		wire = wire[k:]
	}
}

func TestFramesAreReadHoweverTheyAreCut(t *testing.T) {
	var wire []byte
	var want []string
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 125, 126, 1144, 65535, 65536, MaxMessage} {
		payload := make([]byte, n)
		for i := range payload {
			payload[i] = byte(r.Uint32())
		}
		wire = append(wire, serverFrame(opBinary, payload)...)
		want = append(want, fmt.Sprintf("2:%s", payload))
	}
	wire = append(wire, rawFrame(opText, []byte("one "))...)
	wire = append(wire, serverFrame(opPing, []byte("between"))...)
	wire = append(wire, rawFrame(opContinuation, []byte("two "))...)
	wire = append(wire, serverFrame(opContinuation, []byte("three"))...)
	wire = append(wire, serverFrame(opBinary, []byte("next"))...)
	want = append(want, "9:between", "1:one two three", "2:next")
	for _, n := range []int{1, 7, 1000, len(wire)} {
		got, err := readAll(wire, n)
		if err != nil || len(got) != len(want) {
			t.Fatalf("in pieces of %d: %d messages, %v", n, len(got), err)
		}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("in pieces of %d: message %d differs", n, i)
			}
		}
	}
}

func TestBrokenFrames(t *testing.T) {
	head := func(b ...byte) []byte { return append(b, make([]byte, 20)...) }
	many := bytes.Repeat(rawFrame(opContinuation, make([]byte, MaxMessage/2)), 2)
	for name, c := range map[string]struct {
		wire []byte
		want error
	}{
		"reserved bit":             {head(finBit|0x40|opBinary, 1), errFrame},
		"reserved opcode":          {head(finBit|0x3, 1), errFrame},
		"reserved control opcode":  {head(finBit|0xb, 1), errFrame},
		"masked":                   {head(finBit|opBinary, maskBit|1), errFrame},
		"control in fragments":     {head(opPing, 1), errFrame},
		"long control":             {serverFrame(opPong, make([]byte, 126)), errFrame},
		"continuation of nothing":  {serverFrame(opContinuation, []byte("x")), errFrame},
		"message within a message": {append(rawFrame(opBinary, []byte("x")), serverFrame(opBinary, nil)...), errFrame},
		"too large":                {head(finBit|opBinary, 127, 0, 0, 0, 0, 0, 4, 0, 1), ErrTooLarge},
		"more than there can be":   {head(finBit|opBinary, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), ErrTooLarge},
		"too large in fragments":   {append(rawFrame(opBinary, []byte("x")), many...), ErrTooLarge},
	} {
		if got, err := readAll(c.wire, len(c.wire)); !errors.Is(err, c.want) || len(got) > 0 {
			t.Errorf("%s: %d messages, %v", name, len(got), err)
		}
	}
}

// TestFramesAreReadByTheLibrary: what we write, an implementation that is not
// ours understands.
func TestFramesAreReadByTheLibrary(t *testing.T) {
	type message struct {
		kind int
		data []byte
	}
	sent := make(chan message)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(sent)
		ws, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer ws.Close()
		ws.SetPingHandler(func(data string) error { sent <- message{opPing, []byte(data)}; return nil })
		for {
			kind, data, err := ws.ReadMessage()
			if err != nil {
				if !websocket.IsCloseError(err, 1000) {
					t.Error(err)
				}
				return
			}
			sent <- message{kind, data}
		}
	}))
	defer srv.Close()
	var raw net.Conn
	dialer := websocket.Dialer{NetDial: func(network, addr string) (c net.Conn, err error) {
		raw, err = net.Dial(network, addr)
		return raw, err
	}}
	ws, _, err := dialer.Dial(strings.Replace(srv.URL, "http", "ws", 1), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	random := rand.NewChaCha8([32]byte{})
	for n := 0; n < 70000; n += 1 + n*2/3 {
		payload := make([]byte, n)
		random.Read(payload)
		opcode := byte(opBinary)
		if n == 1 {
			opcode = opPing
		}
		if _, err := raw.Write(appendFrame(nil, opcode, payload, uint32(random.Uint64()))); err != nil {
			t.Fatal(err)
		}
		if m := <-sent; m.kind != int(opcode) || !bytes.Equal(m.data, payload) {
			t.Fatalf("%d bytes with opcode %x came as %d with opcode %x", n, opcode, len(m.data), m.kind)
		}
	}
	if _, err := raw.Write(appendFrame(nil, opClose, []byte{1000 >> 8, 1000 & 0xff}, 1)); err != nil {
		t.Fatal(err)
	}
	if m, ok := <-sent; ok {
		t.Errorf("%v after the close", m)
	}
}

func FuzzFrames(f *testing.F) {
	f.Add(serverFrame(opBinary, []byte("hello")), 3)
	f.Add(append(rawFrame(opText, []byte("a")), serverFrame(opContinuation, []byte("b"))...), 1)
	f.Add(serverFrame(opPing, make([]byte, 126)), 100)
	f.Fuzz(func(t *testing.T, wire []byte, n int) {
		if n <= 0 {
			return
		}
		whole, wholeErr := readAll(wire, len(wire))
		cut, cutErr := readAll(wire, n)
		if wholeErr != cutErr || len(whole) != len(cut) {
			t.Fatalf("whole: %d messages, %v; in pieces of %d: %d, %v", len(whole), wholeErr, n, len(cut), cutErr)
		}
		for i := range whole {
			if whole[i] != cut[i] {
				t.Errorf("message %d: %q whole, %q in pieces of %d", i, whole[i], cut[i], n)
			}
		}
	})
}
