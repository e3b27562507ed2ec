package ssmproto

import "fmt"

// Property returns what the agent says of the session under that name in its
// handshake, such as a port session's "portNumber"; "" if it says nothing.
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
	return "" // agents name no objects
}
