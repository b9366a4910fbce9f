using System.Runtime.InteropServices;

namespace Fabric.Tunnel.Linux;

/// <summary>What ciphertext comes from and goes to. Calls never wait, and answer as the kernel does.</summary>
internal interface ITlsTransport
{
    /// <summary>EAGAIN, errno(3): not now.</summary>
    public const int TryAgain = 11;

    /// <summary>Bytes received; 0 at the end; otherwise the error's number below zero.</summary>
    int Receive(Span<byte> buffer);

    /// <summary>Bytes taken, maybe not all; otherwise the error's number below zero.</summary>
    int Send(ReadOnlySpan<byte> bytes);
}

/// <summary>A connected socket, which it does not own.</summary>
internal sealed partial class TlsSocket(int descriptor) : ITlsTransport
{
    private const int DontWait = 0x40;
    private const int NoSignal = 0x4000;
    private const int Interrupted = 4;

    public int Receive(Span<byte> buffer)
    {
        int result;
        do
        {
            result = Result(recv(descriptor, buffer, (nuint)buffer.Length, DontWait));
        }
        while (result == -Interrupted);
        return result;
    }

    public int Send(ReadOnlySpan<byte> bytes)
    {
        int result;
        do
        {
            result = Result(send(descriptor, bytes, (nuint)bytes.Length, DontWait | NoSignal));
        }
        while (result == -Interrupted);
        return result;
    }

    private static int Result(nint count) => count >= 0 ? (int)count : -Marshal.GetLastSystemError();

    [LibraryImport("libc")]
    private static partial nint recv(int descriptor, Span<byte> buffer, nuint length, int flags);

    [LibraryImport("libc")]
    private static partial nint send(int descriptor, ReadOnlySpan<byte> buffer, nuint length, int flags);
}
