package agent

import (
	"encoding/binary"
	"encoding/json"
	"slices"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto/core"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest/wire"
)

// handle handles a message from the client.
func (a *Agent) handle(data []byte) {
	m, err := core.Parse(data)
	switch {
	case err != nil:
		a.job.Service.Logf("from the client: %v", err)
	case a.deaf:
	case m.Type == core.Acknowledge:
		if n, err := core.ParseAck(m.Payload); err == nil {
			a.outbox.acknowledged(n)
		}
	case m.Type == core.InputStreamData:
		a.receive(&m)
	}
}

// receive handles stream data, which is a duplicate, early, or next.
func (a *Agent) receive(m *core.Message) {
	switch {
	case m.Sequence < a.expected:
		a.acknowledge(m) // the last acknowledgement was lost
	case a.phase == dialing && a.job.SessionType != NonInteractiveSession:
	case m.Sequence > a.expected:
		if _, ok := a.early[m.Sequence]; !ok {
			if len(a.early) >= a.job.Config.ReorderLimit {
				return
			}
			a.early[m.Sequence] = early{m.PayloadType, slices.Clone(m.Payload)}
		}
		a.acknowledge(m)
	default:
		a.accept(m.PayloadType, m.Payload)
		a.acknowledge(m)
		for a.expected++; ; a.expected++ {
			e, ok := a.early[a.expected]
			if !ok {
				break
			}
			delete(a.early, a.expected)
			a.accept(e.payloadType, e.payload)
		}
	}
}

// accept handles the next message of the stream.
func (a *Agent) accept(t core.PayloadType, payload []byte) {
	switch t {
	case core.Output:
		if a.cipher != nil {
			var err error
			if payload, err = a.cipher.open(payload); err != nil {
				a.job.Service.Logf("input: %v", err)
				return
			}
		}
		if a.phase == connected {
			a.toPort = append(a.toPort, payload...)
		}
	case core.Size:
		a.resize(payload)
	case core.EncChallengeResponse:
		a.challengeAnswered(payload)
	case core.HandshakeResponse:
		a.handshakeAnswered(payload)
	case core.FlagPayload:
		if len(payload) != 4 {
			return
		}
		a.flag(core.Flag(binary.BigEndian.Uint32(payload)))
	}
}

func (a *Agent) flag(f core.Flag) {
	switch {
	case f == core.TerminateSession, f == core.DisconnectToPort && a.job.SessionType == PortSession && !a.forwarding():
		a.flush()
		a.end()
	case f == core.DisconnectToPort && a.redials() && a.port != nil:
		a.flush()
		a.port.Close()
	}
}

// resize handles a change of the client's terminal size.
func (a *Agent) resize(payload []byte) {
	var size struct{ Cols, Rows uint16 }
	p, ok := a.port.(*program)
	if !ok || p.tty == nil || json.Unmarshal(payload, &size) != nil {
		return
	}
	a.flush() // pass on what was typed before
	a.job.Service.Resized(int(size.Cols), int(size.Rows))
	if err := p.resize(int(size.Cols), int(size.Rows)); err != nil {
		a.job.Service.Logf("size: %v", err)
	}
}

// acknowledge queues the acknowledgement of m, to be sent once the data before
// it has been written.
func (a *Agent) acknowledge(m *core.Message) {
	a.ackBody = core.AppendAck(a.ackBody[:0], m)
	a.acks = wire.AppendFrame(a.acks, &core.Message{
		Type:          core.Acknowledge,
		SchemaVersion: 1,
		Created:       uint64(time.Now().UnixMilli()),
		Flags:         core.SYN | core.FIN,
		ID:            wire.NewID(),
		Payload:       a.ackBody,
	})
}

// flush writes the in-order data to the port and then sends acknowledgements.
func (a *Agent) flush() {
	if len(a.toPort) > 0 {
		a.writePort()
	}
	if len(a.acks) > 0 {
		a.job.Service.ToClient(a.acks, ackLimit)
		a.acks = emptied(a.acks)
	}
}
