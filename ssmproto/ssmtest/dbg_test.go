package ssmtest
import ("testing";"time";"os";"runtime/pprof")
func TestDbg(t *testing.T) {
	s, far := newServer(t, Config{Agent: Agent{NoSleep: true}})
	c, port := connect(t, s, far)
	const rate, size = 1 << 20, 256 << 10
	s.SetPath(Path{}, Path{Rate: rate})
	go port.Write(make([]byte, size))
	seen := make(map[int64]bool)
	for got := 0; got < size; {
		m, err := c.tryRecv(2*time.Second)
		if err != nil { 
			p := c.session().socket.Load().down
			p.mu.Lock()
			t.Log(err, got, len(seen), c.session().BytesDown(), len(p.queue), p.bytes, time.Until(p.free), len(p.held), p.slow.Load(), p.busy)
			p.mu.Unlock()
			pprof.Lookup("goroutine").WriteTo(os.Stdout, 1); t.FailNow() }
		if m.Type=="output_stream_data" {c.ack(m)
		if !seen[m.Sequence] {
			seen[m.Sequence] = true
			got += len(m.Payload)
		}}
	}
}
