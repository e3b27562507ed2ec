package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// roles are the functions for which this program starts itself. Each ends when
// its stdin does, so none outlives the run, however that ends.
var roles = map[string]func(args []string) error{
	"role-service": serviceRole,
	"role-netcat":  netcatRole,
	"role-plugin":  pluginRole,
	"role-hole":    holeRole,
}

const (
	node   = "i-0123456789abcdef0"
	region = "us-east-1"
)

// netcatRole is the plain TCP that ssmpipe is compared with: a ProxyCommand
// that connects and copies. (On Linux Go copies between a pipe and a TCP
// connection in the kernel, so it costs almost nothing.)
func netcatRole(args []string) error {
	conn, err := net.Dial("tcp", args[0])
	if err != nil {
		return err
	}
	defer conn.Close()
	go func() {
		io.Copy(conn, os.Stdin)
		conn.(*net.TCPConn).CloseWrite()
	}()
	_, err = io.Copy(os.Stdout, conn)
	return err
}

// serviceConfig configures a service in a process of its own.
type serviceConfig struct {
	Sleep    bool   // the agent's 1 ms
	KMS      bool   // encrypt sessions with a shell
	Unsigned bool   // accept clients that do not sign the WebSocket's upgrade
	Target   string // the address that the agent dials, whatever the port
	Address  string // the address that the service listens on; "": 127.0.0.1
	Up, Down ssmtest.Path
}

// newService starts a service over TLS with one node.
func newService(cfg serviceConfig) *awstest.Server {
	preferences := ""
	if cfg.KMS {
		preferences = `{"inputs":{"kmsKeyId":"alias/bench"}}`
	}
	srv := awstest.NewServer(awstest.Config{
		Config:      ssmtest.Config{TLS: true, Address: cfg.Address, NoSignatureCheck: cfg.Unsigned, Agent: ssmtest.Agent{NoSleep: !cfg.Sleep}},
		Preferences: preferences,
	})
	srv.AddNode(awstest.Node{ID: node, Node: ssmtest.Node{Dial: dialAlways(cfg.Target)}})
	srv.SetPath(cfg.Up, cfg.Down)
	return srv
}

func dialAlways(target string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, target)
	}
}

// access is what a client needs to use a service.
type access struct {
	Env []string
	PEM []byte
}

// serviceRole reads its configuration from stdin, prints the access on one
// line, and then the name of each API operation that is called.
func serviceRole([]string) error {
	in := bufio.NewReader(os.Stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return err
	}
	var cfg serviceConfig
	if err := json.Unmarshal(line, &cfg); err != nil {
		return err
	}
	srv := newService(cfg)
	defer srv.Close()
	srv.OnAPI(func(operation string) *ssmtest.APIError {
		fmt.Println(operation)
		return nil
	})
	if err := json.NewEncoder(os.Stdout).Encode(access{srv.Env(), srv.CertPEM()}); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, in)
	return err
}

// service is a service in a process of its own.
type service struct {
	*process
	url   string
	env   []string // for its clients
	calls chan string
}

func (b *bench) startService(cfg serviceConfig) (*service, error) {
	p, err := b.spawn(os.Environ(), b.self, "role-service")
	if err != nil {
		return nil, err
	}
	s := &service{process: p, calls: make(chan string, 100)}
	if err := s.hello(b, cfg); err != nil {
		p.kill()
		return nil, fmt.Errorf("service: %w", err)
	}
	return s, nil
}

func (s *service) hello(b *bench, cfg serviceConfig) error {
	text, err := json.Marshal(cfg)
	if err != nil {
		return err
	}
	if _, err := s.in.Write(append(text, '\n')); err != nil {
		return err
	}
	line, err := firstLine(s.out)
	if err != nil {
		return err
	}
	var a access
	if err := json.Unmarshal([]byte(line), &a); err != nil {
		return err
	}
	if s.url, s.env, err = b.clientEnv(a); err != nil {
		return err
	}
	go func() {
		lines := bufio.NewScanner(s.out)
		for lines.Scan() {
			select {
			case s.calls <- lines.Text():
			default: // not waited for
			}
		}
	}()
	return nil
}

// clientEnv returns the environment for a client of a service, and the
// service's URL.
func (b *bench) clientEnv(a access) (url string, env []string, err error) {
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "AWS_") { // clients would look for the user's profile
			env = append(env, v)
		}
	}
	bundle, err := os.CreateTemp(b.dir, "ca")
	if err != nil {
		return "", nil, err
	}
	if _, err := bundle.Write(a.PEM); err != nil {
		return "", nil, err
	}
	env = append(append(env, a.Env...), "AWS_CA_BUNDLE="+filepath.Clean(bundle.Name()))
	for _, v := range a.Env {
		if u, ok := strings.CutPrefix(v, "AWS_ENDPOINT_URL="); ok {
			url = u
		}
	}
	if url == "" {
		err = errors.New("no AWS_ENDPOINT_URL")
	}
	return url, env, errors.Join(err, bundle.Close())
}

// through makes clients use another address for the service, both for the API
// and for the data channel.
func through(env []string, addr string) []string {
	return append(env[:len(env):len(env)], "AWS_ENDPOINT_URL=https://"+addr, "AWS_ENDPOINT_URL_SSMMESSAGES=https://"+addr)
}

// proxyArgs are the arguments that ssh passes to ssmpipe.
var proxyArgs = []string{"proxy", "--region", region, node, "22"}
