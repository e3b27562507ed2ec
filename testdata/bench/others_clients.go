package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
)

// otherClient is a published program that speaks the data channel itself.
type otherClient struct {
	name    string
	module  string
	version string
	command string // the package of the command, from the module's root

	// pins are the versions of modules to build with, if the module has no
	// go.mod.
	pins []string

	// proxy returns the command that ssh would start.
	proxy func(b *bench, binary string) []string
}

var otherClients = []otherClient{
	{
		name:    "session-manager-plugin",
		module:  "github.com/aws/session-manager-plugin",
		version: "v0.0.0-20260401221635-b79d06c1d3a2",
		command: "src/sessionmanagerplugin-main",
		// The code is written for this twinj/uuid and does not build with a
		// later one (session-manager-plugin #73), so not by go install alone.
		pins: []string{
			"github.com/twinj/uuid v0.0.0-20151029044442-89173bcdda19",
			"github.com/aws/aws-sdk-go-v2 v1.47.7",
			"github.com/aws/aws-sdk-go-v2/config v1.33.15",
			"github.com/aws/aws-sdk-go-v2/service/kms v1.62.4",
			"github.com/aws/aws-sdk-go-v2/service/ssm v1.81.4",
			"github.com/cihub/seelog v0.0.0-20170130134532-f561c5e57575",
			"github.com/fsnotify/fsnotify v1.10.1",
			"github.com/gorilla/websocket v1.5.3",
			"github.com/stretchr/testify v1.12.1",
			"github.com/xtaci/smux v1.5.56",
			"golang.org/x/crypto v0.58.0",
			"golang.org/x/sync v0.24.0",
		},
		proxy: func(b *bench, binary string) []string { return []string{b.self, "role-plugin", binary} },
	},
	{
		name:    "alexbacchin/ssm-session-client",
		module:  "github.com/alexbacchin/ssm-session-client",
		version: "v1.3.0",
		// From its documentation: it has not been measured yet. Its log goes to
		// stdout.
		proxy: func(_ *bench, binary string) []string {
			return []string{binary, "ssh", node + ":22", "--aws-region", region, "--log-level", "error"}
		},
	},
}

// install builds the client in a directory of its own and returns its path.
func (c *otherClient) install(b *bench, dir string) ([]string, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(b.ctx, 5*time.Minute)
	defer cancel()
	pkg := path.Join(c.module, c.command)
	install := exec.CommandContext(ctx, "go", "install", pkg+"@"+c.version)
	if c.pins != nil {
		mod := fmt.Sprintf("module other\n\ngo 1.25\n\nrequire (\n\t%s %s\n\t%s\n)\n", c.module, c.version, strings.Join(c.pins, "\n\t"))
		if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(mod), 0o600); err != nil {
			return nil, err
		}
		install = exec.CommandContext(ctx, "go", "install", "-mod=mod", pkg)
	}
	install.Dir = dir
	install.Env = append(os.Environ(), "GOBIN="+dir, "GOWORK=off")
	if out, err := install.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	return c.proxy(b, filepath.Join(dir, path.Base(pkg))), nil
}

// pluginRole does for session-manager-plugin what the AWS CLI does: it starts a
// session and passes on the response. It then becomes the plugin by exec, so
// that CPU and memory are the plugin's.
func pluginRole(args []string) error {
	ctx := context.Background()
	cfg, err := config.LoadDefaultConfig(ctx, config.WithRegion(region))
	if err != nil {
		return err
	}
	const document = "AWS-StartSSHSession"
	parameters := map[string][]string{"portNumber": {"22"}}
	out, err := ssm.NewFromConfig(cfg).StartSession(ctx, &ssm.StartSessionInput{
		Target: aws.String(node), DocumentName: aws.String(document), Parameters: parameters,
	})
	if err != nil {
		return err
	}
	request, err := json.Marshal(map[string]any{"Target": node, "DocumentName": document, "Parameters": parameters})
	if err != nil {
		return err
	}
	response, err := json.Marshal(map[string]*string{
		"SessionId": out.SessionId, "StreamUrl": out.StreamUrl, "TokenValue": out.TokenValue,
	})
	if err != nil {
		return err
	}
	const variable = "AWS_SSM_START_SESSION_RESPONSE" // an argument would show the token in ps
	const profile = ""
	return syscall.Exec(args[0],
		[]string{"session-manager-plugin", variable, region, "StartSession", profile, string(request), os.Getenv("AWS_ENDPOINT_URL")},
		append(os.Environ(), variable+"="+string(response)))
}
