using System.Runtime.ExceptionServices;

namespace Fabric.Testing.Links;

/// <summary>Doing things inside a network namespace that <c>ip netns</c> made.</summary>
public static class NetworkNamespace
{
    /// <summary>Runs it on a thread of its own inside the namespace: sockets that it makes stay there, whoever uses them later.</summary>
    public static T Inside<T>(string name, Func<T> make)
    {
        T result = default!;
        ExceptionDispatchInfo? failure = null;
        var thread = new Thread(() =>
        {
            try
            {
                using var handle = File.OpenHandle($"/run/netns/{name}");
                if (Posix.setns((int)handle.DangerousGetHandle(), Posix.CLONE_NEWNET) != 0)
                {
                    throw Posix.Failure("setns", name);
                }

                result = make();
            }
            catch (Exception e)
            {
                failure = ExceptionDispatchInfo.Capture(e);
            }
        });
        thread.Start();
        thread.Join();
        failure?.Throw();
        return result;
    }
}
