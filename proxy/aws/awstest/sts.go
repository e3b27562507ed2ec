package awstest

import (
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// stsService is the Security Token Service.
var stsService = &awsService{name: "sts", version: "2011-06-15", operations: map[string]operation{
	"GetCallerIdentity": (*Server).getCallerIdentity,
}}

type callerIdentity struct {
	Result struct{ Arn, UserId, Account string } `xml:"GetCallerIdentityResult"`
}

// getCallerIdentity is allowed to everybody, whatever policies say.
func (s *Server) getCallerIdentity(*apiCall) (any, *ssmtest.APIError) {
	var r callerIdentity
	r.Result.Arn, r.Result.UserId, r.Result.Account = callerARN, "AIDACKCEVSFODNN7EXAMPLE", accountID
	return r, nil
}
