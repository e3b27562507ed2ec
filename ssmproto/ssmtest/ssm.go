package ssmtest

// ssmService is Systems Manager.
var ssmService = &awsService{name: "ssm", target: "AmazonSSM", operations: map[string]operation{
	"StartSession":                jsonOperation((*Server).startSession),
	"ResumeSession":               jsonOperation((*Server).resumeSession),
	"TerminateSession":            jsonOperation((*Server).terminateSession),
	"DescribeSessions":            jsonOperation((*Server).describeSessions),
	"GetDocument":                 jsonOperation((*Server).getDocument),
	"SendCommand":                 jsonOperation((*Server).sendCommand),
	"GetCommandInvocation":        jsonOperation((*Server).getCommandInvocation),
	"DescribeInstanceInformation": jsonOperation((*Server).describeInstanceInformation),
}}
