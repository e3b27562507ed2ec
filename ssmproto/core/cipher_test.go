package core

import (
	"bytes"
	"testing"
	"time"
)

func TestNothingFollowsWhatCannotBeDecrypted(t *testing.T) {
	s := newTestStream()
	key := bytes.Repeat([]byte{1}, dataKeyLen)
	theirs, err := NewCipher(append(bytes.Clone(key[32:]), key[:32]...)) // the agent's view
	if err != nil {
		t.Fatal(err)
	}
	ours, err := NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	s.Encrypt(ours)
	sealed := func(s string) []byte { return theirs.seal([]byte(s), 0) }
	for _, f := range [][]byte{
		agentMessage(2, Output, sealed("three")),
		agentMessage(1, Output, []byte("broken, and long enough to be read")),
		agentMessage(0, Output, sealed("one")),
	} {
		s.Receive(f, 1)
	}
	p := make([]byte, 100)
	if n, _ := s.Read(p); string(p[:n]) != "one" || s.Err() == nil {
		t.Errorf("%q, %v", p[:n], s.Err())
	}
	if n, _ := s.Read(p); n > 0 {
		t.Errorf("then %q", p[:n])
	}
}

// TestOnlyTheStreamIsEncrypted, and no two messages have the same id.
func TestOnlyTheStreamIsEncrypted(t *testing.T) {
	s := newSender(InputStreamData, time.UnixMilli(1), [32]byte{})
	c, err := NewCipher(make([]byte, dataKeyLen))
	if err != nil {
		t.Fatal(err)
	}
	s.cipher = c
	s.write([]byte("secret"))
	s.control(FlagPayload, []byte{0, 0, 0, 2})
	first, err := Parse(bytes.Clone(s.poll(1)))
	if err != nil || bytes.Contains(first.Payload, []byte("secret")) || len(first.Payload) != 6+12+16 {
		t.Errorf("%q, %v", first.Payload, err)
	}
	second, err := Parse(bytes.Clone(s.poll(1)))
	if err != nil || !bytes.Equal(second.Payload, []byte{0, 0, 0, 2}) {
		t.Errorf("%q, %v", second.Payload, err)
	}
	if first.ID == second.ID {
		t.Error("two messages have the same id")
	}
}
