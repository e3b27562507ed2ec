package mux

// chunkSize is the size of the pieces in which chunks allocates memory.
const chunkSize = 16 << 10

// chunks is a queue of bytes that uses little more memory than it holds bytes,
// and releases it as they are read.
type chunks struct {
	list [][]byte // only the last may be empty
	n    int      // bytes queued
}

func (c *chunks) write(p []byte) {
	c.n += len(p)
	for len(p) > 0 {
		last := len(c.list) - 1
		if last < 0 || len(c.list[last]) == cap(c.list[last]) {
			c.list = append(c.list, make([]byte, 0, chunkSize))
			last++
		}
		tail := c.list[last]
		k := min(cap(tail)-len(tail), len(p))
		c.list[last] = append(tail, p[:k]...)
		p = p[k:]
	}
}

func (c *chunks) read(p []byte) (n int) {
	for n < len(p) && c.n > 0 {
		k := copy(p[n:], c.list[0])
		n += k
		c.n -= k
		c.list[0] = c.list[0][k:]
		if len(c.list[0]) == 0 && (c.n > 0 || cap(c.list[0]) == 0) {
			c.list[0] = nil
			c.list = c.list[1:]
		}
	}
	return n
}
