package aws_test

import (
	"os"
	"testing"

	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
)

func TestMain(m *testing.M) { os.Exit(rigtest.Main(m)) }
