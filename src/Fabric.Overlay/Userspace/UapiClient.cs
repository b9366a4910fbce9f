using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text;
using Fabric.Overlay.Devices;

namespace Fabric.Overlay.Userspace;

/// <summary>Speaks UAPI with the process behind a socket: one connection per request, each within a time limit.</summary>
internal sealed class UapiClient(string path, TimeSpan timeout, TimeProvider time)
{
    private const int LevelSocket = 1, PeerCredentials = 17;

    public string Path => path;

    /// <summary>
    /// Whether a process answers, and its number (0: it lives in another process namespace). The kernel tells who listens: no
    /// file with a number in it that could be stale.
    /// </summary>
    public async Task<int?> FindProcessAsync(CancellationToken cancellationToken)
    {
        try
        {
            var (answer, process) = await ExchangeAsync(UapiCodec.Get, cancellationToken);
            return UapiCodec.ParseErrno(answer) == 0 ? process : null;
        }
        catch (Exception e) when (e is SocketException or InvalidDataException or TimeoutException or IOException)
        {
            return null;
        }
    }

    public Task<DeviceStatus> GetAsync(string driver, string name, CancellationToken cancellationToken) =>
        RequestAsync(UapiCodec.Get, answer => UapiCodec.ParseDevice(driver, name, answer), cancellationToken);

    public async Task SetAsync(DeviceChange change, CancellationToken cancellationToken)
    {
        var request = UapiCodec.Set(change);
        try
        {
            await RequestAsync(request, _ => true, cancellationToken);
        }
        finally
        {
            Array.Clear(request);
        }
    }

    private async Task<T> RequestAsync<T>(
        ReadOnlyMemory<byte> request, Func<string, T> parse, CancellationToken cancellationToken)
    {
        try
        {
            var (answer, _) = await ExchangeAsync(request, cancellationToken);
            var errno = UapiCodec.ParseErrno(answer);
            return errno == 0 ? parse(answer) : throw new OverlayException(OverlayStage.Configure,
                $"the WireGuard process behind {path} refused: {Marshal.GetPInvokeErrorMessage(errno)} (errno {errno})", errno);
        }
        catch (Exception e) when (e is SocketException or InvalidDataException or TimeoutException or IOException)
        {
            throw new OverlayException(OverlayStage.Configure,
                $"no answer from the WireGuard process behind {path}: {e.Message}", 0, e);
        }
    }

    private async Task<(string Answer, int Process)> ExchangeAsync(ReadOnlyMemory<byte> request,
        CancellationToken cancellationToken)
    {
        using var limit = new CancellationTokenSource(timeout, time);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken);
        try
        {
            using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(path), both.Token);
            for (var sent = 0; sent < request.Length;)
            {
                sent += await socket.SendAsync(request[sent..], both.Token);
            }

            return (await ReceiveAsync(socket, both.Token), ProcessOf(socket));
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw new TimeoutException($"it took longer than {timeout.TotalSeconds} s");
        }
    }

    /// <summary>Up to the empty line, or the end.</summary>
    private static async Task<string> ReceiveAsync(Socket socket, CancellationToken cancellationToken)
    {
        var buffer = new byte[16 << 10];
        var length = 0;
        while (true)
        {
            var received = await socket.ReceiveAsync(buffer.AsMemory(length), cancellationToken);
            length += received;
            if (received == 0 || (length >= 2 && buffer[length - 1] == '\n' && buffer[length - 2] == '\n'))
            {
                var answer = Encoding.ASCII.GetString(buffer, 0, length);
                Array.Clear(buffer);
                return answer;
            }

            if (length == buffer.Length)
            {
                if (length >= UapiCodec.MaxAnswer)
                {
                    throw new InvalidDataException($"a UAPI answer of more than {UapiCodec.MaxAnswer >> 20} MiB");
                }

                Array.Resize(ref buffer, length * 2);
            }
        }
    }

    /// <summary>struct ucred of the listener: pid, uid, gid.</summary>
    private static int ProcessOf(Socket socket)
    {
        Span<byte> credentials = stackalloc byte[12];
        return socket.GetRawSocketOption(LevelSocket, PeerCredentials, credentials) == credentials.Length
            ? MemoryMarshal.Read<int>(credentials)
            : 0;
    }
}
