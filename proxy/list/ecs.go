package list

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/ssmpipe/ssmpipe/proxy/driver"
	"github.com/ssmpipe/ssmpipe/proxy/machine"
	"github.com/ssmpipe/ssmpipe/proxy/table"
)

var containerColumns = []table.Column{
	{Title: "TARGET"},
	{Title: "STATUS", Leave: 4},
	{Title: regionTitle, Leave: 5},
	{Title: "EXEC"},
	{Title: "SERVICE", Flexible: true, Leave: 3},
	{Title: "STARTED", Leave: 2},
	{Title: "IP", Leave: 1},
}

func containerRow(c *driver.Container) table.Row {
	_, service, _ := strings.Cut(c.Group, ":")
	return table.Row{JSON: c, Cells: []table.Cell{
		{Text: c.Target},
		{Text: strings.ToLower(c.Status), Colour: stateColours[strings.ToLower(c.Status)]},
		{Text: c.Region},
		execCell(c),
		{Text: cmp.Or(service, c.Group)},
		{Text: passed(c.Started)},
		{Text: c.IP},
	}}
}

// execCell reports whether a session is possible: ECS puts an agent into the
// container if that is enabled for the task.
func execCell(c *driver.Container) table.Cell {
	switch {
	case !c.Exec:
		return table.Cell{Text: "no", Colour: table.Dim}
	case c.Agent == "RUNNING":
		return table.Cell{Text: "yes", Colour: table.Green}
	}
	return table.Cell{Text: "agent " + strings.ToLower(cmp.Or(c.Agent, "missing")), Colour: table.Yellow}
}

// containers lists the containers of a region.
func (l *lister) containers(ctx context.Context, o *machine.Options, s driver.Service, news func(func() error) error) error {
	all, ok := s.(driver.ContainerLister)
	if !ok {
		return machine.ErrUnsupported
	}
	failed := func(cluster string, err error) {
		at := *o
		at.Target += ": cluster " + cluster
		o.Notice(at.Explain(err).Error())
	}
	return all.Containers(ctx, failed, func(page []driver.Container) error {
		return news(func() error { return l.printContainers(page) })
	})
}

func (l *lister) printContainers(list []driver.Container) error {
	slices.SortFunc(list, func(a, b driver.Container) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Target, b.Target))
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	var rows []table.Row
	for i := range list {
		c := &list[i]
		_, service, _ := strings.Cut(c.Group, ":")
		if l.matches(c.Target, c.Cluster, c.Task, c.Name, service) {
			rows = append(rows, containerRow(c))
		}
	}
	return l.print(rows)
}
