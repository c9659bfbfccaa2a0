#include <linux/mempolicy.h>
#include <sys/syscall.h>

static void need_second_node(void)
{
	errno = 0;
	if (access("/sys/devices/system/node/node1", F_OK))
		skip_all("moving a page needs a second NUMA node");
}

/* move_pages() of one page to the first of two nodes that it is not on: 0 or the status. */
static int move_page(void *address)
{
	int on = -1, to, status = -1;

	if (syscall(SYS_move_pages, 0, 1UL, &address, NULL, &on, 0))
		return -1;
	to = on ? 0 : 1;
	if (syscall(SYS_move_pages, 0, 1UL, &address, &to, &status, MPOL_MF_MOVE) < 0)
		return -1;
	return status < 0 ? status : 0;
}
