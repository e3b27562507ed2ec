package agent

import "unicode/utf8"

// passRunes splits a program's output as the agent does, into the bytes that it
// sends now and those that it keeps until more have been read. It has the real
// agent's faults: bytes kept at the end are lost, and of a U+FFFD that the
// program wrote only the first byte is sent.
func passRunes(b []byte) (pass, keep []byte) {
	pass = make([]byte, 0, len(b))
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case r != utf8.RuneError:
			pass = append(pass, b[:n]...)
		case len(b) < utf8.UTFMax: // may be the beginning of a character
			return pass, b
		default:
			pass = append(pass, b[0])
		}
		b = b[n:]
	}
	return pass, nil
}
