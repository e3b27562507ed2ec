package awstest

import (
	"encoding/base64"
	"fmt"
	"hash/fnv"
)

// page returns at most size of all that there is, from where token says, and
// the token for what comes then, "" if nothing does. A token is good for the
// parameters that it was given out for only.
func page[T any](all []T, size int, token string, parameters ...any) (part []T, next string, ok bool) {
	h := fnv.New64a()
	fmt.Fprintf(h, "%q", parameters)
	sum := h.Sum64()
	from := 0
	if token != "" {
		var of uint64
		text, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil {
			return nil, "", false
		}
		if _, err := fmt.Sscanf(string(text), "%d %x", &from, &of); err != nil || of != sum || from < 0 {
			return nil, "", false
		}
	}
	from = min(from, len(all)) // there may be fewer than there were
	to := min(from+size, len(all))
	if to < len(all) {
		next = base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d %016x", to, sum))
	}
	return all[from:to], next, true
}
