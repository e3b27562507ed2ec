package awstest

import (
	"cmp"
	"time"

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// ssmService is Systems Manager, but for the operations that ssmtest answers:
// StartSession, ResumeSession and TerminateSession.
var ssmService = &awsService{name: "ssm", target: "AmazonSSM", operations: map[string]operation{
	"DescribeSessions":            jsonOperation((*Server).describeSessions),
	"GetDocument":                 jsonOperation((*Server).getDocument),
	"SendCommand":                 jsonOperation((*Server).sendCommand),
	"GetCommandInvocation":        jsonOperation((*Server).getCommandInvocation),
	"DescribeInstanceInformation": jsonOperation((*Server).describeInstanceInformation),
}}

// sessionOperation is one of ssmtest's, once the account allows it and, for
// StartSession, the machine is in a state for it.
func sessionOperation(answer func(region string) (any, *ssmtest.APIError)) operation {
	type request struct{ Target, DocumentName string }
	return jsonOperation(func(s *Server, c *apiCall, r *request) (any, *ssmtest.APIError) {
		if c.operation == "StartSession" {
			if name := cmp.Or(r.DocumentName, preferences); s.deniesDocument(name) {
				return nil, c.service.unauthorized(c.action(), "arn:aws:ssm:"+c.region+"::document/"+name)
			}
			if n := s.node(r.Target); n != nil && !s.startsSessions(n) {
				return nil, badRequest("TargetNotConnected", "%s is not connected.", r.Target)
			}
		}
		return answer(c.region)
	})
}

// startsSessions tells whether StartSession works on n, which it does a while
// after its agent is connected.
func (s *Server) startsSessions(n *Node) bool {
	return s.connected(n) && time.Since(n.started) >= n.BootTime+n.AgentTime+n.SessionTime
}
