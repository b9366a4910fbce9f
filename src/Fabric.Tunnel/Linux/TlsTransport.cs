namespace Fabric.Tunnel.Linux;

/// <summary>What ciphertext comes from and goes to. Calls never wait, and answer as the kernel does.</summary>
internal interface ITlsTransport
{
    /// <summary>Not now.</summary>
    public const int TryAgain = Libc.EAGAIN;

    /// <summary>Bytes received; 0 at the end; otherwise the error's number below zero.</summary>
    int Receive(Span<byte> buffer);

    /// <summary>Bytes taken, maybe not all; otherwise the error's number below zero.</summary>
    /// <param name="bytes">To be sent.</param>
    /// <param name="moreFollows">At once: no packet need leave that is not full.</param>
    int Send(ReadOnlySpan<byte> bytes, bool moreFollows);
}

/// <summary>A connected socket, which it does not own.</summary>
internal sealed unsafe class TlsSocket(int descriptor) : ITlsTransport
{
    public int Receive(Span<byte> buffer)
    {
        fixed (byte* bytes = buffer)
        {
            int result;
            do
            {
                result = Result(Libc.Receive(descriptor, bytes, (nuint)buffer.Length, Libc.DontWait));
            }
            while (result == -Libc.EINTR);
            return result;
        }
    }

    public int Send(ReadOnlySpan<byte> bytes, bool moreFollows)
    {
        var flags = Libc.DontWait | Libc.NoSignal | (moreFollows ? Libc.MoreFollows : 0);
        fixed (byte* first = bytes)
        {
            int result;
            do
            {
                result = Result(Libc.Send(descriptor, first, (nuint)bytes.Length, flags));
            }
            while (result == -Libc.EINTR);
            return result;
        }
    }

    private static int Result(nint count) => count >= 0 ? (int)count : -Libc.Errno;
}
