// Package proxy connects to machines through AWS Systems Manager Session
// Manager. The machines need no open port and no network path from here.
//
// # Connections
//
// Programs use a [Dialer]. Its DialContext can be used wherever that of a
// net.Dialer can (http.Transport, pgx, go-redis, ssh.NewClientConn) and
// returns a net.Conn that outlives the WebSocket under it:
//
//	var d proxy.Dialer
//	defer d.Close()
//	conn, err := d.DialContext(ctx, "tcp", "web-1:5432")
//
// Credentials, region, endpoints, HTTPS_PROXY and certificates come from the
// same places as for every AWS tool. The caller needs ssm:StartSession on the
// machine and on the documents AWS-StartPortForwardingSession and, with Via,
// AWS-StartPortForwardingSessionToRemoteHost; ssm:ResumeSession,
// ssm:TerminateSession and ssmmessages:OpenDataChannel on the session; and, to
// use names, ec2:DescribeInstances or ssm:DescribeInstanceInformation.
//
// # Targets
//
// A target is one of
//
//	i-0123456789abcdef0, mi-0123456789abcdef0   its id
//	web-1                                       the tag Name
//	tag:role=db                                 another tag
//	asg:web                                     its Auto Scaling group
//	10.0.3.7, ip-10-0-3-7.ec2.internal          an address, a private DNS name
//	ecs:CLUSTER/TASK/CONTAINER                  a container, by its task
//	web-1--eu-central-1                         any of these, in that region
//
// Resolved names are cached for five minutes in the user's cache directory, or
// in the directory that SSMPIPE_CACHE names.
//
// # Commands
//
// Each command of ssmpipe is a package below this one: stdio, forward, shell,
// doctor, list, plugin, sshconfig. Package driver is the seam to a cloud's
// service, package aws the driver for AWS. The commands take options, report events to the user
// through the Notice option, and return errors for people to read: [Error]
// names the next step in terms of the command's options.
package proxy
