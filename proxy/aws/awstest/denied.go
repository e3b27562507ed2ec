package awstest

import (
	"slices"

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// Deny has StartSession refuse these documents, and no others, as when IAM does
// not allow them: AccessDeniedException.
func (s *Server) Deny(documents ...string) {
	documents = slices.Clone(documents)
	s.denied.Store(&documents)
}

// DenyActions refuses these actions, and no others, as when IAM does not allow
// them, each in its service's own words. They are written as in policies:
// "ec2:DescribeInstances", "ssm:StartSession". (sts:GetCallerIdentity cannot be
// denied.) What Deny says holds besides.
func (s *Server) DenyActions(actions ...string) {
	actions = slices.Clone(actions)
	s.actions.Store(&actions)
}

// allowed returns the refusal of what DenyActions forbids. The resource is what
// the call is about, of any form.
func (s *Server) allowed(c *apiCall, resource string) *ssmtest.APIError {
	if !s.denies(c.action()) {
		return nil
	}
	return c.service.unauthorized(c.action(), resource)
}

func (s *Server) denies(action string) bool {
	denied := s.actions.Load()
	return denied != nil && slices.Contains(*denied, action)
}

// deniesDocument tells whether StartSession refuses a document.
func (s *Server) deniesDocument(name string) bool {
	denied := s.denied.Load()
	return denied != nil && slices.Contains(*denied, name)
}
