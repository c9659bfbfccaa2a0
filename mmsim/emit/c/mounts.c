#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

/* A mount namespace of our own with an empty /tmp: all of it is gone when the program is, however it ends. */
static void private_mounts(void)
{
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		skip_all("a mount namespace of its own is refused");
	if (mount("tmpfs", "/tmp", "tmpfs", 0, "mode=0700"))
		skip_all("a tmpfs cannot be mounted");
}

static void mount_tmpfs(const char *directory)
{
	if (mkdir(directory, 0700) || mount("tmpfs", directory, "tmpfs", 0, NULL))
		skip_all("a tmpfs cannot be mounted");
}

static int remount(const char *directory, unsigned long flags)
{
	return mount(NULL, directory, NULL, MS_REMOUNT | flags, NULL);
}
