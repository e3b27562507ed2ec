package agent

import "unicode/utf8"

// passRunes is what the agent makes of a program's output: the bytes that it
// sends now, and those that it keeps until more have come. Its faults are the
// real one's: what it keeps at the end is lost, and of a U+FFFD that the program
// wrote only the first byte is sent.
func passRunes(b []byte) (pass, keep []byte) {
	pass = make([]byte, 0, len(b))
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case r != utf8.RuneError:
			pass = append(pass, b[:n]...)
		case len(b) < utf8.UTFMax: // it may be the beginning of a character
			return pass, b
		default:
			pass = append(pass, b[0])
		}
		b = b[n:]
	}
	return pass, nil
}
