package ssmtest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto"
)

// Client is an ssmproto.Session on one of the Server's nodes, for tests of code
// that uses only ssmproto. It calls the Server's API over HTTP, so that faults
// of the API affect it.
type Client struct {
	srv      *Server
	node     string
	document string
	params   map[string][]string
	id       string
	client   *http.Client
}

var _ ssmproto.Session = (*Client)(nil)

// NewClient returns a session, not yet opened, with the document for ssh, to a
// port of a node.
func (s *Server) NewClient(nodeID, port string) *Client {
	return s.NewDocumentClient(nodeID, "AWS-StartSSHSession", map[string][]string{"portNumber": {port}})
}

// NewForwardClient returns a session, not yet opened, that forwards a port of a
// host that the node can reach, or, without a host, of the node.
func (s *Server) NewForwardClient(nodeID, host, port string) *Client {
	params := map[string][]string{"portNumber": {port}}
	if host == "" {
		return s.NewDocumentClient(nodeID, "AWS-StartPortForwardingSession", params)
	}
	params["host"] = []string{host}
	return s.NewDocumentClient(nodeID, "AWS-StartPortForwardingSessionToRemoteHost", params)
}

// NewDocumentClient returns a session, not yet opened, with any document; ""
// means that of a shell.
func (s *Server) NewDocumentClient(nodeID, document string, params map[string][]string) *Client {
	return &Client{srv: s, node: nodeID, document: document, params: params, client: &http.Client{Transport: s.Transport()}}
}

// Transport returns a Transport that trusts the Server's certificate.
func (s *Server) Transport() *http.Transport {
	t := &http.Transport{DisableKeepAlives: true}
	if pem := s.CertPEM(); pem != nil {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		t.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	return t
}

// Open implements ssmproto.Session.
func (c *Client) Open(ctx context.Context) (ssmproto.Grant, error) {
	return c.grant(ctx, "StartSession", sessionRequest{
		Target:       c.node,
		DocumentName: c.document,
		Parameters:   c.params,
	})
}

// Resume implements ssmproto.Session.
func (c *Client) Resume(ctx context.Context) (ssmproto.Grant, error) {
	return c.grant(ctx, "ResumeSession", sessionRequest{SessionId: c.id})
}

// Terminate implements ssmproto.Session.
func (c *Client) Terminate(ctx context.Context) error {
	_, err := c.call(ctx, "TerminateSession", sessionRequest{SessionId: c.id})
	return err
}

func (c *Client) grant(ctx context.Context, operation string, r sessionRequest) (g ssmproto.Grant, err error) {
	res, err := c.call(ctx, operation, r)
	if err != nil {
		return g, err
	}
	if res.TokenValue == nil || *res.TokenValue == "" {
		return g, fmt.Errorf("%w: it timed out", ssmproto.ErrSessionEnded)
	}
	c.id = res.SessionId
	// The signature covers host, path and query, but not the scheme.
	req, err := http.NewRequest(http.MethodGet, "http"+strings.TrimPrefix(res.StreamUrl, "ws"), nil)
	if err != nil {
		return g, err
	}
	c.srv.credentials().sign(req, nil, c.srv.cfg.Region, "ssmmessages", time.Now())
	return ssmproto.Grant{URL: res.StreamUrl, Token: *res.TokenValue, Header: req.Header}, nil
}

func (c *Client) call(ctx context.Context, operation string, r sessionRequest) (*sessionResponse, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.srv.URL()+"/", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Amz-Target", "AmazonSSM."+operation)
	c.srv.credentials().sign(req, body, c.srv.cfg.Region, "ssm", time.Now())
	res, err := c.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		refusal := &APIError{Status: res.StatusCode, Code: res.Header.Get("X-Amzn-Errortype")}
		json.Unmarshal(answer, refusal) // the message, if there is one
		if refusal.Code == "DoesNotExistException" {
			return nil, fmt.Errorf("%w: %w", ssmproto.ErrSessionEnded, refusal)
		}
		return nil, refusal
	}
	var response sessionResponse
	return &response, json.Unmarshal(answer, &response)
}

// credentials returns the current credentials.
func (s *Server) credentials() credentials {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.creds
}
