#include <stdint.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

static int uffd = -1;

/* A process has one of its own. */
static void uffd_open(void)
{
	struct uffdio_api api = { .api = UFFD_API };

	api.features = UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM;
	uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api))
		skip_all("userfaultfd is refused, or does not know shmem");
}

static int uffd_register(char *address, size_t length, unsigned long mode)
{
	struct uffdio_register range = { .range = { (uintptr_t)address, length }, .mode = mode };

	return ioctl(uffd, UFFDIO_REGISTER, &range);
}

static long uffd_copy(char *address, const char *data, size_t length)
{
	struct uffdio_copy copy = { .dst = (uintptr_t)address, .src = (uintptr_t)data, .len = length };

	return ioctl(uffd, UFFDIO_COPY, &copy) ? -1 : copy.copy;
}

static long uffd_continue(char *address)
{
	struct uffdio_continue page = { .range = { (uintptr_t)address, PAGE_SIZE } };

	return ioctl(uffd, UFFDIO_CONTINUE, &page) ? -1 : page.mapped;
}
