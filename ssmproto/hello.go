package ssmproto

import (
	"crypto/rand"
	"encoding/json"

	"github.com/ssmpipe/ssmpipe/ssmproto/core"
)

// hello is the first message on every link, as text.
type hello struct {
	MessageSchemaVersion string
	RequestID            string `json:"RequestId"`
	TokenValue           string
	ClientID             string `json:"ClientId"`
	ClientVersion        string
}

// hello returns the first message on a link for which token is good.
func (c *Conn) hello(token string) []byte {
	text, err := json.Marshal(hello{
		MessageSchemaVersion: "1.0",
		RequestID:            newUUID(),
		TokenValue:           token,
		ClientID:             c.id,
		ClientVersion:        c.cfg.ClientVersion,
	})
	if err != nil {
		panic(err) // cannot happen with strings
	}
	return text
}

// newUUID returns a random UUID in the form that the hello message uses.
func newUUID() string {
	var u core.UUID
	rand.Read(u[:]) // never fails
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return u.String()
}
