package ssmproto

import (
	"encoding/json"
	"errors"
	"io"
	"testing"

	"github.com/ssmpipe/ssmpipe/ssmproto/core"
	"github.com/ssmpipe/ssmpipe/ssmproto/link"
)

// TestConnectToPortError ends a session of one connection, and not one of many.
func TestConnectToPortError(t *testing.T) {
	flag := agentMessage(0, core.FlagPayload, []byte{0, 0, 0, 3})
	c := opened(t)
	c.feed(flag)
	if err := c.Err(); !errors.Is(err, ErrNotConnected) {
		t.Errorf("got %v", err)
	}
	c = opened(t)
	c.hs.sessionType = PortSession
	c.hs.properties = map[string]any{"type": "LocalPortForwarding"}
	c.feed(flag)
	if err := c.Err(); err != nil {
		t.Errorf("got %v", err)
	}
}

// TestReasonOfTheService reaches the user, whatever else it holds.
func TestReasonOfTheService(t *testing.T) {
	for _, reason := range []string{"Idle timeout", `with "quotes" and é`} {
		payload, _ := json.Marshal(map[string]string{"Output": reason})
		c := opened(t)
		c.feed(serviceMessage(core.ChannelClosed, string(payload)))
		var closed *ClosedError
		if _, err := io.ReadAll(c); !errors.As(err, &closed) || closed.Reason != reason {
			t.Errorf("%v", err)
		}
	}
}

// TestLargestMessage: the link lets through what the core takes, and no more.
func TestLargestMessage(t *testing.T) {
	if link.MaxMessage != core.MaxFrame {
		t.Errorf("%d and %d bytes", link.MaxMessage, core.MaxFrame)
	}
}
