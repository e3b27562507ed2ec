//go:build linux || darwin

package demo

import (
	"encoding/binary"
	"os"

	"golang.org/x/sys/unix"
)

// setModes applies the modes of the client's terminal to ours (RFC 4254
// section 8), so that keys such as backspace and interrupt are the same here. It
// skips unknown opcodes, as the RFC requires.
func setModes(tty *os.File, modes string) error {
	fd := int(tty.Fd())
	t, err := unix.IoctlGetTermios(fd, ioctlGetTermios)
	if err != nil {
		return err
	}
	// An opcode is one byte and its value four. 0 ends the list, and so does
	// anything from 160 on, for which no length is defined.
	for b := []byte(modes); len(b) >= 5 && b[0] != 0 && b[0] < 160; b = b[5:] {
		setMode(t, b[0], binary.BigEndian.Uint32(b[1:5]))
	}
	return unix.IoctlSetTermios(fd, ioctlSetTermios, t)
}

// controlChars are opcodes whose value is a character.
var controlChars = map[byte]int{
	1: unix.VINTR, 2: unix.VQUIT, 3: unix.VERASE, 4: unix.VKILL, 5: unix.VEOF,
	6: unix.VEOL, 7: unix.VEOL2, 8: unix.VSTART, 9: unix.VSTOP, 10: unix.VSUSP,
	12: unix.VREPRINT, 13: unix.VWERASE, 14: unix.VLNEXT, 18: unix.VDISCARD,
}

func setMode(t *unix.Termios, op byte, value uint32) {
	if i, ok := controlChars[op]; ok {
		t.Cc[i] = byte(value) // 255 is "off", which is Linux's 0
		if value == 255 {
			t.Cc[i] = charOff
		}
		return
	}
	on := value != 0
	switch op {
	case 30:
		setBit(&t.Iflag, unix.IGNPAR, on)
	case 31:
		setBit(&t.Iflag, unix.PARMRK, on)
	case 32:
		setBit(&t.Iflag, unix.INPCK, on)
	case 33:
		setBit(&t.Iflag, unix.ISTRIP, on)
	case 34:
		setBit(&t.Iflag, unix.INLCR, on)
	case 35:
		setBit(&t.Iflag, unix.IGNCR, on)
	case 36:
		setBit(&t.Iflag, unix.ICRNL, on)
	case 38:
		setBit(&t.Iflag, unix.IXON, on)
	case 39:
		setBit(&t.Iflag, unix.IXANY, on)
	case 40:
		setBit(&t.Iflag, unix.IXOFF, on)
	case 41:
		setBit(&t.Iflag, unix.IMAXBEL, on)
	case 42:
		setBit(&t.Iflag, unix.IUTF8, on)
	case 50:
		setBit(&t.Lflag, unix.ISIG, on)
	case 51:
		setBit(&t.Lflag, unix.ICANON, on)
	case 53:
		setBit(&t.Lflag, unix.ECHO, on)
	case 54:
		setBit(&t.Lflag, unix.ECHOE, on)
	case 55:
		setBit(&t.Lflag, unix.ECHOK, on)
	case 56:
		setBit(&t.Lflag, unix.ECHONL, on)
	case 57:
		setBit(&t.Lflag, unix.NOFLSH, on)
	case 58:
		setBit(&t.Lflag, unix.TOSTOP, on)
	case 59:
		setBit(&t.Lflag, unix.IEXTEN, on)
	case 60:
		setBit(&t.Lflag, unix.ECHOCTL, on)
	case 61:
		setBit(&t.Lflag, unix.ECHOKE, on)
	case 70:
		setBit(&t.Oflag, unix.OPOST, on)
	case 72:
		setBit(&t.Oflag, unix.ONLCR, on)
	case 73:
		setBit(&t.Oflag, unix.OCRNL, on)
	case 74:
		setBit(&t.Oflag, unix.ONOCR, on)
	case 75:
		setBit(&t.Oflag, unix.ONLRET, on)
	}
}

// setBit is generic because the flags are 32 bits wide on Linux, 64 on macOS.
func setBit[T uint32 | uint64](flags *T, bit T, on bool) {
	if on {
		*flags |= bit
	} else {
		*flags &^= bit
	}
}
