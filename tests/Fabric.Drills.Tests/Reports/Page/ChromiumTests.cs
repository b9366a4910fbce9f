using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Fabric.Drills.Reports;
using Fabric.Testing;

namespace Fabric.Drills.Tests.Reports.Page;

/// <summary>The page in a real browser, opened from its file: drawn, and nothing loaded. All that a browser asks the network for, it asks a proxy of the test.</summary>
public sealed class ChromiumTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("fabric-page-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [RequiresTheory("chromium")]
    [InlineData(1280, "light")]
    [InlineData(1280, "dark")]
    [InlineData(420, "light")]
    public async Task A_report_is_drawn_and_loads_nothing(int width, string scheme)
    {
        var files = await DrillReports.WriteAsync(SampleRecord.Build(), SampleRecord.Build(seed: 2, pauseMs: 410, fails: true), _folder);
        var (dom, image, asked) = await Open(files.Html, width, scheme);
        Assert.Empty(asked);
        Assert.Contains("id=\"longest-pause\"", dom);
        Assert.Contains("nothing for 312 ms", dom);
        Assert.Contains("id=\"detection\"", dom);
        Assert.Equal(3, dom.Split("<svg class=\"timeline").Length - 1);
        Assert.True(dom.Split("class=\"well\"").Length > 300, "columns of probes");

        // The style was applied, which the policy allows by its hash, and the drawing is in the picture: page, faults, columns.
        var colours = Png.Colours(image);
        Assert.True(colours.Count > 50, $"{colours.Count} colours");
        Assert.True(colours.GetValueOrDefault(scheme == "dark" ? 0x0f1115 : 0xf6f7f9) > 10_000, "the page's ground");
        Assert.True(colours.GetValueOrDefault(0xe5484d) > 300, "the fault's bar");
        Assert.True(colours.GetValueOrDefault(scheme == "dark" ? 0x3d5a94 : 0x9db8e8) > (width > 1000 ? 3000 : 500), "the probes' columns");
    }

    [RequiresFact("chromium")]
    public async Task Hostile_names_stay_text()
    {
        var files = await DrillReports.WriteAsync(Hostile.Build(), Hostile.Build(), _folder);
        var (dom, _, asked) = await Open(files.Html, 1280, "light");
        Assert.Empty(asked);
        Assert.DoesNotContain("<title>owned", dom);
        Assert.DoesNotContain("<img", dom);
        Assert.Equal(1, dom.Split("<script").Length - 1);
        Assert.Contains("id=\"longest-pause\"", dom);
    }

    /// <summary>That the other tests can fail: such an image is asked for, such a script runs, and nothing looks like nothing.</summary>
    [RequiresFact("chromium")]
    public async Task A_page_that_loads_is_caught()
    {
        var page = Path.Combine(_folder, "loads.html");
        await File.WriteAllTextAsync(page, "<!doctype html><title>x</title><script>document.title='owned'</script><img src=\"http://evil.example/x.png\">");
        var (dom, _, asked) = await Open(page, 400, "light");
        Assert.Contains(asked, a => a.Contains("evil.example", StringComparison.Ordinal));
        Assert.Contains("<title>owned", dom);

        await File.WriteAllTextAsync(page, "<!doctype html><title>blank</title>");
        Assert.Single(Png.Colours((await Open(page, 400, "light")).Image));
    }

    private async Task<(string Dom, byte[] Image, IReadOnlyList<string> Asked)> Open(string page, int width, string scheme)
    {
        using var proxy = new Proxy();
        var image = Path.Combine(_folder, "page.png");
        File.Delete(image);
        string[] arguments =
        [
            "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", "--disable-default-apps", "--disable-extensions", "--disable-dev-shm-usage", "--force-color-profile=srgb", "--lang=en",
            $"--user-data-dir={Path.Combine(_folder, "profile")}", $"--proxy-server=127.0.0.1:{proxy.Port}", "--proxy-bypass-list=<-loopback>",
            $"--blink-settings=preferredColorScheme={(scheme == "dark" ? 0 : 1)}", $"--window-size={width},2400", "--virtual-time-budget=3000",
            $"--screenshot={image}", "--dump-dom", new Uri(page).AbsoluteUri,
        ];
        using var browser = Process.Start(new ProcessStartInfo("chromium", arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        var error = browser.StandardError.ReadToEndAsync();
        var dom = await browser.StandardOutput.ReadToEndAsync().WaitAsync(TimeSpan.FromSeconds(90));
        await browser.WaitForExitAsync();
        Assert.True(File.Exists(image), await error);
        return (dom, await File.ReadAllBytesAsync(image), proxy.Asked);
    }

    /// <summary>Notes the first line of each request, and answers none. What the browser asks of its maker for itself is not the page's.</summary>
    private sealed class Proxy : IDisposable
    {
        private static readonly string[] OfTheBrowser = [".google.com", ".googleapis.com", ".gvt1.com", ".gstatic.com"];

        private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
        private readonly List<string> _asked = [];

        public Proxy()
        {
            _listener.Start();
            _ = Accept();
        }

        public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

        public IReadOnlyList<string> Asked
        {
            get
            {
                lock (_asked)
                {
                    return [.. _asked];
                }
            }
        }

        public void Dispose() => _listener.Dispose();

        private async Task Accept()
        {
            var buffer = new byte[4096];
            try
            {
                while (true)
                {
                    using var caller = await _listener.AcceptTcpClientAsync();
                    var count = await caller.GetStream().ReadAsync(buffer);
                    var line = Encoding.ASCII.GetString(buffer, 0, count).Split('\r')[0];
                    if (count > 0 && !OfTheBrowser.Any(o => line.Contains(o, StringComparison.Ordinal)))
                    {
                        lock (_asked)
                        {
                            _asked.Add(line);
                        }
                    }
                }
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException or IOException)
            {
                // Disposed.
            }
        }
    }
}
