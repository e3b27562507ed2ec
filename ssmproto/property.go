package ssmproto

import "fmt"

// Property returns a property of the session that the agent sent in its
// handshake, such as a port session's "portNumber", or "" if there is none of
// that name.
func (c *Conn) Property(name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch v := c.hs.properties[name].(type) {
	case nil:
		return ""
	case string:
		return v
	case float64, bool:
		return fmt.Sprint(v)
	}
	return "" // agents send no objects
}
